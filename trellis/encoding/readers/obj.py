"""Wavefront OBJ: polygons with texture coordinates, vertex colours and the materials of an MTL file beside it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.assemble import MeshPart, assemble
from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.mtl import ObjMaterial, read_materials
from trellis.encoding.source_mesh import Material, SourceMesh, Texture
from trellis.errors import InvalidInputError

_NO_MATERIAL = ""


@dataclass
class _Content:
    """What the lines say: rows of numbers, corners as numbers of (vertex, coordinate) pairs, faces by material."""

    vertices: list[list[bytes]] = field(default_factory=list)
    uvs: list[list[bytes]] = field(default_factory=list)
    corners: dict[tuple[int, int], int] = field(default_factory=dict)
    faces: dict[str, list[int]] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def read_obj(files: SourceFiles, *, up: str = "y") -> SourceMesh:
    """Read an OBJ file; polygons become fans of triangles. Raises InvalidInputError naming the line that is wrong."""
    data = files.read()
    files.limits.check("faces", data.count(b"\nf "))
    content = _parse(files, data)
    known: dict[str, ObjMaterial] = {}
    for name in content.libraries:
        known |= read_materials(files, name)
    vertices, colors = _vertices(files, content.vertices)
    uvs = _table(files, content.uvs, 2, "vt")
    uvs[:, 1] = 1 - uvs[:, 1]
    pairs = np.array(list(content.corners), dtype=np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.max(0) >= (len(vertices), max(len(uvs), 1))).any():
        raise InvalidInputError(f"{files.path.name} is damaged: a face names a vertex that is not there.")
    # A corner without coordinates of its own gets the origin.
    uvs = np.concatenate([uvs, np.zeros((1, 2))])
    parts: list[MeshPart] = []
    materials: list[Material] = []
    textures: list[Texture] = []
    for name, numbers in content.faces.items():
        faces = np.array(numbers, dtype=np.int64).reshape(-1, 3)
        used, faces = np.unique(faces, return_inverse=True)
        at = pairs[used]
        material = known.get(name, ObjMaterial())
        part_uvs = uvs[at[:, 1]] * material.uv_scale + material.uv_offset
        part_colors = None if colors is None else colors[at[:, 0]]
        parts.append(
            MeshPart(
                vertices=vertices[at[:, 0]],
                faces=faces.reshape(-1, 3),
                uvs=part_uvs,
                colors=part_colors,
                material=len(materials),
                up=up,
                srgb=True,
            )
        )
        materials.append(material.as_material(len(textures)))
        textures += [material.texture] if material.texture is not None else []
    if not parts:
        parts = [MeshPart(vertices=vertices, faces=np.zeros((0, 3), np.int64))]
    return assemble(parts, files, materials=materials, textures=textures)


def _parse(files: SourceFiles, data: bytes) -> _Content:
    content, material = _Content(), _NO_MATERIAL
    text = data.replace(b"\r\n", b"\n").replace(b"\\\n", b" ")
    for number, line in enumerate(text.split(b"\n"), 1):
        key, _, rest = line.strip().partition(b" ")
        try:
            if key == b"v":
                content.vertices.append(rest.split())
            elif key == b"vt":
                content.uvs.append(rest.split())
            elif key == b"f":
                _add_face(content, rest.split(), content.faces.setdefault(material, []))
            elif key == b"usemtl":
                material = rest.strip().decode("utf-8", "replace")
            elif key == b"mtllib":
                content.libraries.append(rest.strip().decode("utf-8", "replace"))
        except ValueError as error:
            shown = line[:60].decode("utf-8", "replace")
            raise InvalidInputError(f"{files.path.name}, line {number}: {shown!r} is not usable: {error}.") from error
    return content


def _add_face(content: _Content, tokens: list[bytes], faces: list[int]) -> None:
    """Append the fan of one polygon; indices count from 1, negative ones from the end of what was read so far."""
    corners = []
    for token in tokens:
        first, _, others = token.partition(b"/")
        second = others.partition(b"/")[0]
        vertex = _index(int(first), len(content.vertices))
        uv = _index(int(second), len(content.uvs)) if second else -1
        corners.append(content.corners.setdefault((vertex, uv), len(content.corners)))
    if len(corners) < 3:
        raise ValueError("a face needs three corners")
    for i in range(1, len(corners) - 1):
        faces += (corners[0], corners[i], corners[i + 1])


def _index(stated: int, count: int) -> int:
    index = stated - 1 if stated > 0 else count + stated
    if stated == 0 or index < 0:
        raise ValueError(f"it names entry {stated}, which is not there")
    return index


def _vertices(files: SourceFiles, rows: list[list[bytes]]) -> tuple[NDArray, NDArray | None]:
    """Positions [V, 3] and colours [V, 3] where all vertices have them (x y z r g b)."""
    colored = bool(rows) and all(len(row) in (6, 7) for row in rows)
    table = _table(files, rows, 6 if colored else 3, "v")
    if not colored:
        return table, None
    colors = table[:, 3:]
    # Some programs write 0..255.
    return table[:, :3], colors / 255 if colors.max() > 1 else colors


def _table(files: SourceFiles, rows: list[list[bytes]], width: int, key: str) -> NDArray[np.float64]:
    files.limits.check("vertices", len(rows))
    if any(len(row) < width for row in rows):
        raise InvalidInputError(f"{files.path.name} is damaged: a line {key!r} has fewer than {width} numbers.")
    try:
        return np.array([row[:width] for row in rows], dtype=np.bytes_).astype(np.float64).reshape(-1, width)
    except ValueError as error:
        raise InvalidInputError(f"{files.path.name} is damaged: a line {key!r} has no number: {error}.") from error
