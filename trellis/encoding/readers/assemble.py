"""Parts of a file, in whatever frame and form, to one `SourceMesh`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.source_mesh import Material, SourceMesh, Texture, linear_from_srgb
from trellis.errors import InvalidInputError
from trellis.geometry.axes import from_gltf_frame

UP_AXES = ("y", "z")


@dataclass(frozen=True)
class MeshPart:
    """Triangles of one material.

    vertices [V, 3]; faces [F, 3]; uvs [V, 2] with the origin at the top left, or None; colors [V, 3 or 4] in [0, 1],
    or None, sRGB if `srgb` says so, else linear; up: "y" (glTF's frame, front +z) or "z" (our frame).
    """

    vertices: NDArray
    faces: NDArray
    uvs: NDArray | None = None
    colors: NDArray | None = None
    material: int = 0
    up: str = "y"
    srgb: bool = False


def assemble(
    parts: Sequence[MeshPart],
    files: SourceFiles,
    *,
    materials: Sequence[Material] = (),
    textures: Sequence[Texture] = (),
) -> SourceMesh:
    """All parts as one mesh in our world; faces without area at all (a corner twice) are left out.

    Raises InvalidInputError, which names the file, when there are no faces or too many, a face names a vertex that is
    not there, or a used vertex is not finite.
    """
    name = files.path.name
    files.limits.check("faces", sum(len(part.faces) for part in parts))
    files.limits.check("vertices", sum(len(part.vertices) for part in parts))
    pieces = [_as_mesh(part, name) for part in parts if len(part.faces)]
    pieces = [piece for piece in pieces if len(piece.faces)]
    if not pieces:
        points = sum(len(part.vertices) for part in parts)
        what = f"has {points:,} points but no faces" if points else "holds no mesh"
        raise InvalidInputError(f"{name} {what}: give a file with a surface made of triangles.")
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    return SourceMesh(
        vertices=torch.cat([piece.vertices for piece in pieces]),
        faces=torch.cat([piece.faces + int(start) for piece, start in zip(pieces, starts)]),
        uvs=torch.cat([piece.uvs for piece in pieces]),
        vertex_colors=torch.cat([piece.vertex_colors for piece in pieces]),
        face_materials=torch.cat([piece.face_materials for piece in pieces]),
        materials=tuple(materials) or (Material(),),
        textures=tuple(textures),
    )


def _as_mesh(part: MeshPart, name: str) -> SourceMesh:
    if part.up not in UP_AXES:
        raise InvalidInputError(f"Unknown up axis {part.up!r}; choose one of {', '.join(UP_AXES)}.")
    count = len(part.vertices)
    faces = torch.from_numpy(np.array(part.faces, dtype=np.int64, order="C").reshape(-1, 3))
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= count):
        raise InvalidInputError(f"{name} is damaged: a face names a vertex that is not there.")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is found below
        vertices = torch.from_numpy(np.array(part.vertices, dtype=np.float32).reshape(-1, 3))
    a, b, c = faces.unbind(1)
    faces = faces[(a != b) & (b != c) & (c != a)]
    if not torch.isfinite(vertices[faces]).all():
        raise InvalidInputError(f"{name} is damaged: a vertex is not a finite number.")
    if part.up == "y":
        vertices = from_gltf_frame(vertices)
    uvs = np.zeros((count, 2)) if part.uvs is None else part.uvs
    return SourceMesh(
        vertices=vertices.contiguous(),
        faces=faces,
        uvs=torch.from_numpy(np.array(uvs, dtype=np.float32)).nan_to_num(0, 0, 0),
        vertex_colors=_colors(part, count),
        face_materials=torch.full((len(faces),), part.material, dtype=torch.int64),
    )


def _colors(part: MeshPart, count: int) -> torch.Tensor:
    colors = torch.ones(count, 4)
    if part.colors is not None:
        given = torch.from_numpy(np.array(part.colors, dtype=np.float32)).nan_to_num(0, 0, 0).clamp(0, 1)
        colors[:, : given.shape[1]] = given
        if part.srgb:
            colors[:, :3] = linear_from_srgb(colors[:, :3])
    return colors
