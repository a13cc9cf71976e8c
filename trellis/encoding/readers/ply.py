"""PLY meshes, ASCII and binary: vertices with colours and texture coordinates, polygons."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.assemble import MeshPart, assemble
from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.source_mesh import Material, SourceMesh
from trellis.errors import InvalidInputError

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
MAX_HEADER = 1 << 16
Column = NDArray | list[NDArray]  # scalars [n] or lists [n, k], or one array a row
COORDINATE_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))


@dataclass
class _Element:
    """An element of the header: columns as (name, type, type of the count of a list or "")."""

    name: str
    count: int
    columns: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def lists(self) -> int:
        return sum(bool(count_type) for _, _, count_type in self.columns)


def read_ply(files: SourceFiles, *, up: str = "z") -> SourceMesh:
    """Read a PLY mesh. Raises InvalidInputError for a file that is damaged, has no faces, or holds Gaussians."""
    data = files.read()
    name = files.path.name
    try:
        order, elements, pictures, body = _header(data)
        for element in elements:
            if element.name in ("vertex", "face"):
                files.limits.check("vertices" if element.name == "vertex" else "faces", element.count)
        tables = _ascii_tables(elements, body) if order == "" else _binary_tables(elements, body, order)
        part = _part(name, tables, up)
        textures = [files.picture(files.referenced(picture), picture) for picture in pictures[:1]]
    except InvalidInputError:
        raise
    except (IndexError, KeyError, OverflowError, ValueError) as error:
        raise InvalidInputError(f"{name} is not a usable PLY file: {error}.") from error
    return assemble([part], files, materials=[Material(texture=0 if textures else None)], textures=textures)


def _header(data: bytes) -> tuple[str, list[_Element], list[str], bytes]:
    """Byte order ("" for ASCII), elements, pictures named in comments, and what follows the header."""
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
    return order, elements, pictures, data[line_end + 1 :]


def _binary_tables(elements: list[_Element], body: bytes, order: str) -> dict[str, dict[str, Column]]:
    tables, place = {}, 0
    for element in elements:
        tables[element.name], place = _binary_element(element, body, place, order)
    return tables


def _binary_element(element: _Element, body: bytes, place: int, order: str) -> tuple[dict[str, Column], int]:
    """Columns of an element that starts at `place`, and where it ends."""
    if element.lists:
        # Nearly all files hold lists of one length, that of the first row: then rows are records.
        lengths = _first_lengths(element, body, place, order) if element.count else [0] * element.lists
        dtype, waiting = [], iter(lengths)
        for name, kind, count_type in element.columns:
            if count_type:
                dtype += [(f"{name} count", order + count_type), (name, order + kind, (next(waiting),))]
            else:
                dtype.append((name, order + kind))
    else:
        dtype = [(name, order + kind) for name, kind, _ in element.columns]
    record = np.dtype(dtype)
    end = place + record.itemsize * element.count
    if end <= len(body):
        rows = np.frombuffer(body, record, element.count, place)
        named = [name for name, _, count_type in element.columns if count_type]
        if all((rows[f"{name} count"] == rows[name].shape[1]).all() for name in named):
            return {name: rows[name] for name, _, _ in element.columns}, end
    if not element.lists:
        raise ValueError(f"it is cut short within {element.name!r}")
    return _mixed_rows(element, body, place, order)


def _first_lengths(element: _Element, body: bytes, place: int, order: str) -> list[int]:
    lengths = []
    for _, kind, count_type in element.columns:
        if count_type:
            count_dtype = np.dtype(order + count_type)
            lengths.append(_count(np.frombuffer(body, count_dtype, 1, place)[0]))
            place += count_dtype.itemsize
        place += np.dtype(kind).itemsize * (lengths[-1] if count_type else 1)
    return lengths


def _count(value: np.generic) -> int:
    length = int(value)
    if not 0 <= length <= 1 << 16:
        raise ValueError(f"a list has {length} entries")
    return length


def _mixed_rows(element: _Element, body: bytes, place: int, order: str) -> tuple[dict[str, Column], int]:
    """Rows with lists of different lengths, one after the other."""
    columns: dict[str, list[NDArray]] = {name: [] for name, _, _ in element.columns}
    dtypes = [
        (name, np.dtype(order + kind), np.dtype(order + count_type) if count_type else None)
        for name, kind, count_type in element.columns
    ]
    for _ in range(element.count):
        for name, dtype, count_dtype in dtypes:
            length = 1
            if count_dtype is not None:
                length = _count(np.frombuffer(body, count_dtype, 1, place)[0])
                place += count_dtype.itemsize
            columns[name].append(np.frombuffer(body, dtype, length, place))
            place += dtype.itemsize * length
    listed = {name for name, _, count_type in element.columns if count_type}
    joined: dict[str, Column] = {name: v if name in listed else np.concatenate(v) for name, v in columns.items()}
    return joined, place


def _ascii_tables(elements: list[_Element], body: bytes) -> dict[str, dict[str, Column]]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) < sum(element.count for element in elements):
        raise ValueError("it is cut short")
    tables, start = {}, 0
    for element in elements:
        rows = [line.split() for line in lines[start : start + element.count]]
        start += element.count
        tables[element.name] = _ascii_lists(element, rows) if element.lists else _ascii_scalars(element, rows)
    return tables


def _ascii_scalars(element: _Element, rows: list[list[bytes]]) -> dict[str, Column]:
    if any(len(row) != len(element.columns) for row in rows):
        raise ValueError(f"a row of {element.name!r} has another number of values than the header states")
    table = np.array(rows, dtype=np.bytes_).astype(np.float64).reshape(element.count, len(element.columns))
    return {name: table[:, i].astype(kind) for i, (name, kind, _) in enumerate(element.columns)}


def _ascii_lists(element: _Element, rows: list[list[bytes]]) -> dict[str, Column]:
    columns: dict[str, list[NDArray]] = {name: [] for name, _, _ in element.columns}
    for row in rows:
        values, place = np.array(row, dtype=np.bytes_).astype(np.float64), 0
        for name, _, count_type in element.columns:
            length = _count(values[place]) if count_type else 1
            place += bool(count_type)
            if place + length > len(values):
                raise ValueError(f"a row of {element.name!r} is too short")
            columns[name].append(values[place : place + length])
            place += length
    return dict(columns)


def _part(name: str, tables: dict[str, dict[str, Column]], up: str) -> MeshPart:
    vertex = tables.get("vertex", {})
    if not {"x", "y", "z"} <= vertex.keys():
        raise ValueError("it has no vertices with x, y and z")
    if "rot_0" in vertex and "face" not in tables:
        raise InvalidInputError(f"{name} holds Gaussians, not a mesh: export the asset as GLB and read that.")
    positions = np.stack([np.asarray(vertex[axis], dtype=np.float64) for axis in "xyz"], 1)
    faces, corner_uvs = _polygons(tables.get("face", {}))
    colors = _vertex_colors(vertex)
    uvs = None
    for names in COORDINATE_NAMES:
        if set(names) <= vertex.keys():
            uvs = np.stack([np.asarray(vertex[key], dtype=np.float64) for key in names], 1)
            break
    if corner_uvs is not None:
        order = faces.reshape(-1)
        if len(order) and not 0 <= order.min() <= order.max() < len(positions):
            raise ValueError("a face names a vertex that is not there")
        positions, uvs = positions[order], corner_uvs
        colors = None if colors is None else colors[order]
        faces = np.arange(len(order)).reshape(-1, 3)
    if uvs is not None:
        uvs = np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1)
    return MeshPart(vertices=positions, faces=faces, uvs=uvs, colors=colors, up=up, srgb=True)


def _polygons(table: dict[str, Column]) -> tuple[NDArray[np.int64], NDArray | None]:
    """Fans of triangles [F, 3] and, where faces carry them, the coordinates [3 F, 2] of their corners."""
    lists = next((table[key] for key in ("vertex_indices", "vertex_index") if key in table), [])
    flat_uvs = table.get("texcoord")
    faces, uvs = [], []
    if isinstance(lists, np.ndarray):
        groups = [(lists, flat_uvs)] if len(lists) else []
    else:
        groups = [(row[None], None if flat_uvs is None else flat_uvs[i][None]) for i, row in enumerate(lists)]
    for rows, coordinates in groups:
        for i in range(1, rows.shape[1] - 1):
            faces.append(rows[:, [0, i, i + 1]].astype(np.int64))
            if coordinates is not None:
                pairs = np.asarray(coordinates, dtype=np.float64).reshape(len(rows), rows.shape[1], 2)
                uvs.append(pairs[:, [0, i, i + 1]])
    if not faces:
        return np.zeros((0, 3), np.int64), None
    return np.concatenate(faces), np.concatenate(uvs).reshape(-1, 2) if uvs else None


def _vertex_colors(vertex: dict[str, Column]) -> NDArray[np.float64] | None:
    """Colours [V, 3 or 4] in [0, 1]: bytes, or floats as they stand."""
    if not {"red", "green", "blue"} <= vertex.keys():
        return None
    names = ["red", "green", "blue"] + (["alpha"] if "alpha" in vertex else [])
    columns = [np.asarray(vertex[key]) for key in names]
    colors = np.stack(columns, 1).astype(np.float64)
    is_bytes = columns[0].dtype.kind in "iu" or (colors.size and colors.max() > 1)
    return colors / 255 if is_bytes else colors
