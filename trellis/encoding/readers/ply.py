"""PLY files, ASCII and binary: meshes with colours and texture coordinates, and points."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.parts import MeshPart, assemble, cut_polygons
from trellis.encoding.source_mesh import Material, SourceMesh
from trellis.errors import InvalidInputError

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
MAX_HEADER, LONGEST_LIST = 1 << 16, 1 << 16
COORDINATE_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_Table = dict[str, tuple[NDArray, NDArray]]  # of each column all values, and how many of them each row has
_DAMAGE = (IndexError, KeyError, OverflowError, ValueError)
_Column = tuple[str, np.dtype, np.dtype | None]  # name, type, type of the count of a list


@dataclass
class _Element:
    """An element of the header: columns as (name, type, type of the count of a list or "")."""

    name: str
    count: int
    columns: list[tuple[str, str, str]] = field(default_factory=list)


def read_ply(files: SourceFiles, *, up: str = "z") -> SourceMesh:
    """Read a PLY mesh. Raises InvalidInputError for a file that is damaged, has no faces, or holds Gaussians."""
    data = files.read()
    try:
        tables, pictures = _tables(data, files.limits.check)
        part, stray = _part(files, tables)
    except InvalidInputError:
        raise
    except _DAMAGE as error:
        raise InvalidInputError(f"{files.path.name} is not a usable PLY file: {error}.") from error
    found = files.optional(pictures[0]) if pictures else None
    textures = [] if found is None else [files.picture(found, pictures[0])]
    materials = [Material(texture=0 if textures else None)]
    return assemble([part], files, up=up, srgb=True, stray=stray, materials=materials, textures=textures)


def read_points(path: Path) -> NDArray:
    """The places [N, 3] of a file's vertices. Raises InvalidInputError, which names the file, where it holds none."""
    try:
        tables, _ = _tables(path.read_bytes())
        return _positions(tables.get("vertex", {}))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise InvalidInputError(f"{path} is not a usable PLY file: {error}.") from error


def _tables(data: bytes, check: Callable[[str, int], None] = lambda *_: None) -> tuple[dict[str, _Table], list[str]]:
    """The elements, and pictures that comments name; `check` is told how many vertices and faces a file states."""
    order, elements, pictures, start = _header(data)
    for element in elements:
        if element.name in ("vertex", "face"):
            check("vertices" if element.name == "vertex" else "faces", element.count)
    if order == "":  # numbers apart from each other become records of doubles, and are read as those
        try:
            data, start = np.fromstring(data[start:], sep=" ").tobytes(), 0
        except ValueError as error:
            raise ValueError("something among its values is no number") from error
    tables = {}
    for element in elements:
        tables[element.name], start = _table(element, data, start, order)
    return tables, pictures


def _header(data: bytes) -> tuple[str, list[_Element], list[str], int]:
    """Byte order ("" for ASCII), elements, pictures named in comments, and where the header ends."""
    end = data.find(b"end_header", 0, MAX_HEADER)
    line_end = data.find(b"\n", end)
    if data[:3] != b"ply" or end < 0 or line_end < 0:
        raise ValueError("it has no header")
    order, elements, pictures = None, [], []
    for line in data[:end].decode("utf-8", "replace").splitlines()[1:]:
        match line.split():
            case ["format", kind, _] if kind in ORDERS:
                order = ORDERS[kind]
            case ["comment", "TextureFile", *words]:
                pictures.append(" ".join(words))
            case ["comment" | "obj_info", *_] | []:
                pass
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count)))
            case ["property", "list", count_type, kind, name] if elements and {count_type, kind} <= TYPES.keys():
                elements[-1].columns.append((name, TYPES[kind], TYPES[count_type]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].columns.append((name, TYPES[kind], ""))
            case _:
                raise ValueError(f"its header has an unknown line {line[:80]!r}")
    if order is None:
        raise ValueError("its header states no format")
    return order, elements, pictures, line_end + 1


def _table(element: _Element, body: bytes, place: int, order: str) -> tuple[_Table, int]:
    """Columns of an element whose rows start at `place`, and where they end."""
    columns: list[_Column] = [
        (
            name,
            np.dtype(order + kind if order else "f8"),
            np.dtype(order + counts if order else "f8") if counts else None,
        )
        for name, kind, counts in element.columns
    ]
    if not element.count:
        return {name: (np.zeros(0, kind), np.zeros(0, np.int64)) for name, kind, _ in columns}, place
    # Nearly all files hold lists of one length, that of the first row: then rows are records.
    lengths = _row(columns, body, place)
    fields = [((f"count {c[0]}", c[2] or "V0"), (c[0], c[1], (n,))) for c, n in zip(columns, lengths)]
    record = np.dtype([field for pair in fields for field in pair])
    end = place + record.itemsize * element.count
    if end <= len(body):
        rows = np.frombuffer(body[place:end], record)
        if all((rows[f"count {name}"] == n).all() for (name, _, counts), n in zip(columns, lengths) if counts):
            return {c[0]: (rows[c[0]].reshape(-1), np.full(len(rows), n)) for c, n in zip(columns, lengths)}, end
    if not any(counts for _, _, counts in columns):
        raise ValueError(f"it is cut short within {element.name!r}")
    values, entries = [bytearray() for _ in columns], [array("q") for _ in columns]
    for _ in range(element.count):
        for number, length in enumerate(_row(columns, body, place)):
            _, kind, counts = columns[number]
            place += counts.itemsize if counts else 0
            values[number] += body[place : place + kind.itemsize * length]
            entries[number].append(length)
            place += kind.itemsize * length
    if place > len(body):
        raise ValueError("it is cut short")
    return {c[0]: (np.frombuffer(v, c[1]), np.array(n)) for c, v, n in zip(columns, values, entries)}, place


def _row(columns: list[_Column], body: bytes, place: int) -> list[int]:
    """How many values each column of the row at `place` has."""
    lengths = []
    for _, kind, counts in columns:
        length = int(np.frombuffer(body, counts, 1, place)[0]) if counts else 1
        if not 0 <= length <= LONGEST_LIST:
            raise ValueError(f"a list has {length} entries")
        lengths.append(length)
        place += (counts.itemsize if counts else 0) + kind.itemsize * length
    return lengths


def _part(files: SourceFiles, tables: dict[str, _Table]) -> tuple[MeshPart, int]:
    """The mesh, and how many faces have fewer than three corners."""
    vertex, face = tables.get("vertex", {}), tables.get("face", {})
    positions = _positions(vertex)
    if "rot_0" in vertex and "face" not in tables:
        raise InvalidInputError(
            f"{files.path.name} holds Gaussians, not a mesh: export the asset as GLB and read that."
        )
    named = next((names for names in COORDINATE_NAMES if set(names) <= vertex.keys()), None)
    uvs = np.stack([vertex[name][0] for name in named], 1) if named else None
    colors = _vertex_colors(vertex)
    axes = ("nx", "ny", "nz")
    normals = np.stack([vertex[axis][0] for axis in axes], 1) if vertex.keys() >= set(axes) else None
    order, lengths = face.get("vertex_indices", face.get("vertex_index", (np.zeros(0), np.zeros(0, np.int64))))
    files.limits.check("faces", int(np.maximum(lengths - 2, 0).sum()))
    corners, order = cut_polygons(lengths), order.astype(np.int64)
    faces = order[corners]
    if "texcoord" in face:  # coordinates of corners: each corner becomes a vertex
        if (face["texcoord"][1] != 2 * lengths).any():
            raise ValueError("a face has another number of texture coordinates than of corners")
        if len(order) and not 0 <= order.min() <= order.max() < len(positions):
            raise ValueError("a face names a vertex that is not there")
        positions, uvs, faces = positions[order], face["texcoord"][0].reshape(-1, 2), corners
        colors = None if colors is None else colors[order]
        normals = None if normals is None else normals[order]
    if uvs is not None:
        uvs = uvs * (1.0, -1.0) + (0.0, 1.0)  # they count from the bottom
    return MeshPart(positions, faces, uvs=uvs, colors=colors, normals=normals), int((lengths < 3).sum())


def _positions(vertex: _Table) -> NDArray:
    if not {"x", "y", "z"} <= vertex.keys():
        raise ValueError("it has no vertices with x, y and z")
    return np.stack([vertex[axis][0] for axis in "xyz"], 1)


def _vertex_colors(vertex: _Table) -> NDArray | None:
    """Colours [V, 3 or 4] in [0, 1]: bytes, or floats as they stand."""
    if not {"red", "green", "blue"} <= vertex.keys():
        return None
    colors = np.stack([vertex[key][0] for key in ("red", "green", "blue", "alpha") if key in vertex], 1)
    is_bytes = colors.dtype.kind in "iu" or (colors.size and colors.max() > 1)
    return colors.astype(np.float32) / (255 if is_bytes else 1)
