"""Wavefront OBJ: polygons with texture coordinates, vertex colours and the materials of MTL files beside it."""

import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.parts import MeshPart, assemble, cut_polygons
from trellis.encoding.source_mesh import Material, SourceMesh, Texture, linear_from_srgb
from trellis.errors import InvalidInputError

LONGEST_LINE = 1 << 20
# Before the name of a picture stand options: vectors of one to three numbers, and words that others follow.
MAP_OPTION = re.compile(
    r"-(?:([ost])((?:\s+[-+]?[\d.]+(?:e[-+]?\d+)?){1,3})|(clamp)\s+(\w+)|mm\s+\S+\s+\S+"
    r"|(?:blend[uv]|boost|texres|bm|imfchan)\s+\S+)\s+",
    re.IGNORECASE,
)


@dataclass
class _Content:
    """What the lines say; a corner is a vertex, a texture coordinate, a normal (-1: none), its polygon's material."""

    vertices: array = field(default_factory=lambda: array("d"))
    colors: array = field(default_factory=lambda: array("f"))
    uvs: array = field(default_factory=lambda: array("d"))
    normals: array = field(default_factory=lambda: array("f"))
    corners: tuple[array, array, array] = field(default_factory=lambda: (array("q"), array("q"), array("i")))
    lengths: array = field(default_factory=lambda: array("q"))
    owners: array = field(default_factory=lambda: array("q"))
    names: dict[str, int] = field(default_factory=dict)
    libraries: dict[str, None] = field(default_factory=dict)
    stray: int = 0


def read_obj(files: SourceFiles, *, up: str = "y") -> SourceMesh:
    """Read an OBJ file; polygons become fans of triangles. Raises InvalidInputError naming the line that is wrong."""
    content = _parse(files)
    vertices = np.frombuffer(content.vertices).reshape(-1, 3)
    uvs = np.frombuffer(content.uvs).reshape(-1, 2)
    colors = None
    if len(content.colors) == len(content.vertices) and len(vertices):
        colors = np.frombuffer(content.colors, np.float32).reshape(-1, 3)
        colors = colors / np.float32(255 if colors.max() > 1 else 1)  # some programs write 0..255
    places, coordinates = (np.frombuffer(corners, np.int64) for corners in content.corners[:2])
    if len(places) and (places.max() >= len(vertices) or coordinates.max() >= len(uvs)):
        raise InvalidInputError(f"{files.path.name} is damaged: a face names a vertex that is not there.")
    lengths = np.frombuffer(content.lengths, np.int64)
    owners = np.frombuffer(content.owners, np.int64)
    known: dict[str, dict[str, str]] = {}
    for library in content.libraries:
        known |= _read_library(files, library)
    textures: list[Texture] = []
    used = [_material(files, name, known.get(name, {}), textures) for name in content.names]
    # A vertex for each triple of place, coordinate and material.
    corner_owners = np.repeat(owners, lengths)
    _, pairs = np.unique(places * (len(uvs) + 1) + coordinates, return_inverse=True)
    _, first, faces = np.unique(pairs * (len(used) + 1) + corner_owners, return_index=True, return_inverse=True)
    del pairs
    # Coordinates count from the bottom in the file; a corner without any gets the origin.
    table = np.concatenate([uvs * (1, -1) + (0, 1), np.zeros((1, 2))])[coordinates[first]]
    placing = np.array([place for _, place in used]).reshape(-1, 4)[corner_owners[first]]
    triangles = cut_polygons(lengths)
    normals = np.frombuffer(content.normals, np.float32).reshape(-1, 3) if len(content.normals) else None
    part = MeshPart(
        vertices[places[first]] if len(first) else vertices,
        faces[triangles],
        uvs=table * placing[:, :2] + placing[:, 2:],
        colors=None if colors is None else colors[places[first]],
        material=np.repeat(owners, lengths - 2),
        normals=normals,
        normal_faces=None if normals is None else np.frombuffer(content.corners[2], np.int32)[triangles],
    )
    materials = [material for material, _ in used]
    return assemble([part], files, up=up, srgb=True, stray=content.stray, materials=materials, textures=textures)


def lines(data: bytes, name: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, first word and rest of each line that is neither empty nor a comment."""
    before = b""
    for number, line in enumerate(io.BytesIO(data), 1):
        line = before + line.strip()
        if len(line) > LONGEST_LINE:
            raise InvalidInputError(f"{name}, line {number} is longer than {LONGEST_LINE:,} bytes: it is no mesh.")
        before = line[:-1] + b" " if line.endswith(b"\\") else b""
        if line and not before and not line.startswith(b"#"):
            key, _, rest = line.replace(b"\t", b" ").partition(b" ")
            yield number, key, rest.strip()


def _parse(files: SourceFiles) -> _Content:
    content, material, triangles = _Content(), 0, 0
    limits, name = files.limits, files.path.name
    for number, key, rest in lines(files.read(), name):
        try:
            if key == b"v":
                row = [float(word) for word in rest.split()]
                if len(row) < 3:
                    raise ValueError("a vertex with fewer than 3 numbers")
                content.vertices.extend(row[:3])
                if len(row) in (6, 7):
                    content.colors.extend(row[3:6])
                limits.check("vertices", len(content.vertices) // 3)
            elif key == b"vt":
                u, v, *_ = [*map(float, rest.split()), 0.0]
                content.uvs.extend((u, v))
                limits.check("vertices", len(content.uvs) // 2)
            elif key == b"vn":
                content.normals.extend(_normal(rest))
                limits.check("vertices", len(content.normals) // 3)
            elif key == b"f":
                length = _add_face(content, rest.split())
                if length:
                    # Faces before the first `usemtl` have a material of no name.
                    content.owners.append(material if content.names else content.names.setdefault("", 0))
                    triangles += length - 2
                    limits.check("faces", triangles)
            elif key == b"usemtl":
                material = content.names.setdefault(text(rest), len(content.names))
                limits.check("parts", len(content.names))
            elif key == b"mtllib":
                content.libraries[text(rest)] = None
                limits.check("parts", len(content.libraries))
        except ValueError as error:
            raise InvalidInputError(
                f"{name}, line {number}: {text(key)} {text(rest[:50])} is not usable: {error}."
            ) from error
    return content


def _add_face(content: _Content, tokens: list[bytes]) -> int:
    """Append a polygon and say how many corners it has; one with fewer than three is only counted.

    Indices count from 1, negative ones from the end of what was read so far.
    """
    if len(tokens) < 3:
        content.stray += 1
        return 0
    vertices, uvs, normals = len(content.vertices) // 3, len(content.uvs) // 2, len(content.normals) // 3
    for token in tokens:
        first, _, others = token.partition(b"/")
        second, _, third = others.partition(b"/")
        content.corners[0].append(_index(int(first), vertices))
        content.corners[1].append(_index(int(second), uvs) if second else -1)
        content.corners[2].append(_index(int(third), normals) if third.lstrip(b"-").isdigit() and int(third) else -1)
    content.lengths.append(len(tokens))
    return len(tokens)


def _normal(rest: bytes) -> list[float]:
    """Three numbers; zeros, which is none, for what cannot be read: a normal only shades."""
    try:
        x, y, z = map(float, rest.split())
    except ValueError:
        return [0.0, 0.0, 0.0]
    return [x, y, z]


def _index(stated: int, count: int) -> int:
    index = stated - 1 if stated > 0 else count + stated
    if stated == 0 or not 0 <= index < 1 << 31:
        raise ValueError(f"it names entry {stated}, which is not there")
    return index


def _read_library(files: SourceFiles, library: str) -> dict[str, dict[str, str]]:
    """The statements of an MTL file by material; none when the file is missing."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for _, key, rest in lines(files.optional(library) or b"", library):
        if key == b"newmtl":
            current = found[text(rest)] = {}
            files.limits.check("parts", len(found))
        elif key in (b"Kd", b"d", b"Tr", b"map_Kd"):
            current[text(key)] = text(rest)
    return found


def _material(
    files: SourceFiles, name: str, said: dict[str, str], textures: list[Texture]
) -> tuple[Material, tuple[float, ...]]:
    """The material and how texture coordinates move (scale, shift); its picture, if it has one, joins `textures`."""
    try:
        color = [min(max(float(word), 0.0), 1.0) for word in said.get("Kd", "1").split()[:3]]
        red, green, blue = color * 3 if len(color) == 1 else color
        alpha = float(said["d"].split()[-1]) if said.get("d") else 1 - float((said.get("Tr") or "0").split()[-1])
    except ValueError as error:
        raise InvalidInputError(f"{files.path.name}, material {name}: {said} is not usable: {error}.") from error
    place, wrap, picture = {"s": (1.0, 1.0), "o": (0.0, 0.0)}, "repeat", said.get("map_Kd", "")
    while option := MAP_OPTION.match(picture):
        vector, numbers, clamp, on = option.groups()
        picture, wrap = picture[option.end() :], "clamp" if clamp and on == "on" else wrap
        if vector in place:
            first, second, *_ = *map(float, numbers.split()), place[vector][1]
            place[vector] = first, second
    number = None
    if picture and (data := files.optional(picture)) is not None:
        number = len(textures)
        textures.append(replace(files.picture(data, picture), wrap=(wrap, wrap), picture=picture))
        if max(red, green, blue) == 0:  # a black colour behind a picture means the picture
            red = green = blue = 1.0
    linear = linear_from_srgb(torch.tensor([red, green, blue])).tolist()
    alpha = min(max(alpha, 0.0), 1.0)
    (su, sv), (ou, ov) = place["s"], place["o"]
    # v runs upwards in the file: v' = v * sv + ov there is (1 - v) counted from the top.
    material = Material((*linear, alpha), number, "blend" if alpha < 1 else "opaque", entry=name or None)
    return material, (su, sv, ou, 1 - sv - ov)


def text(word: bytes) -> str:
    return word.decode("utf-8", "replace")
