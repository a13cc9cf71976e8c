"""Parts of a file to one `SourceMesh`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.source_mesh import Material, SourceMesh, Texture, linear_from_srgb
from trellis.errors import InvalidInputError
from trellis.geometry.axes import from_gltf_frame


@dataclass(frozen=True)
class MeshPart:
    """Triangles of one material, or of one material each.

    vertices [V, 3]; faces [F, 3]; uvs [V, 2] with the origin at the top left, or None; colors [V, 3 or 4] in [0, 1],
    or None; material: a number or [F]. normals [n, 3] or None; normal_faces [F, 3]: which of them a corner has (-1:
    none), None: that of the vertex's number.
    """

    vertices: NDArray
    faces: NDArray
    uvs: NDArray | None = None
    colors: NDArray | None = None
    material: int | NDArray = 0
    normals: NDArray | None = None
    normal_faces: NDArray | None = None


def cut_polygons(lengths: ArrayLike) -> NDArray[np.int64]:
    """Corners [T, 3] of the triangles (fans) that polygons are cut into whose corners follow one another.

    lengths [P]: corners of each polygon; those with fewer than three have no triangle.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    counts = np.maximum(lengths - 2, 0)
    first = np.repeat(np.cumsum(lengths) - lengths, counts)
    step = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([first, first + step + 1, first + step + 2], 1)


def assemble(
    parts: Sequence[MeshPart],
    files: SourceFiles,
    *,
    up: str = "y",
    srgb: bool = False,
    stray: int = 0,
    materials: Sequence[Material] = (),
    textures: Sequence[Texture] = (),
) -> SourceMesh:
    """All parts as one mesh in our world; faces without area at all (a corner twice) are left out.

    up: "y" (glTF's frame, front +z) or "z" (our frame); srgb: whether colours are, else they are linear; stray: how
    many faces had fewer than three corners, for the notes.
    Raises InvalidInputError, which names the file, when there are no faces or too many, a face names a vertex that is
    not there, or a used vertex is not finite.
    """
    name, full = files.path.name, [part for part in parts if len(part.faces)]
    files.limits.check("faces", sum(len(part.faces) for part in full))
    files.limits.check("vertices", sum(len(part.vertices) for part in full))
    starts = np.cumsum([0] + [len(part.vertices) for part in full])
    faces = np.concatenate(
        [np.zeros((0, 3), np.int64)] + [_moved(part, start, name) for part, start in zip(full, starts)]
    )
    owners = np.concatenate(
        [np.zeros(0, np.int64)] + [np.broadcast_to(part.material, len(part.faces)) for part in full]
    )
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces, owners = faces[whole], owners[whole]
    if not len(faces):
        points = sum(len(part.vertices) for part in parts)
        what = f"has {points:,} points but no faces" if points else "holds no mesh"
        raise InvalidInputError(f"{name} {what}: give a file with a surface made of triangles.")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is found below
        vertices = torch.from_numpy(np.concatenate([part.vertices.astype(np.float32) for part in full]))
    triangles = torch.from_numpy(faces)
    if not torch.isfinite(vertices).all() and not torch.isfinite(vertices[triangles]).all():
        raise InvalidInputError(f"{name} is damaged: a vertex is not a finite number.")
    notes = files.notes()
    if stray:
        notes.append(f"{stray:,} faces with fewer than three corners are left out.")
    return SourceMesh(
        vertices=from_gltf_frame(vertices) if up == "y" else vertices,
        faces=triangles,
        uvs=torch.from_numpy(np.concatenate([_uvs(part) for part in full])),
        vertex_colors=torch.from_numpy(np.concatenate([_colors(part, srgb) for part in full])),
        face_materials=torch.from_numpy(owners),
        materials=tuple(materials) or (Material(),),
        textures=tuple(textures),
        notes=tuple(notes),
        normals=torch.from_numpy(_normals(full, up)[whole]) if any(part.normals is not None for part in full) else None,
    )


def _moved(part: MeshPart, start: int, name: str) -> NDArray[np.int64]:
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise InvalidInputError(f"{name} is damaged: a face names a vertex that is not there.")
    return part.faces.astype(np.int64) + start


def _uvs(part: MeshPart) -> NDArray[np.float32]:
    if part.uvs is None:
        return np.zeros((len(part.vertices), 2), np.float32)
    with np.errstate(over="ignore"):
        return np.nan_to_num(part.uvs.astype(np.float32), posinf=0, neginf=0)


def _normals(parts: Sequence[MeshPart], up: str) -> NDArray[np.float32]:
    """Unit normals [F, 3, 3] of all corners in our world; 0 where there is none that can be used."""
    result = []
    for part in parts:
        table = np.zeros((1, 3), np.float32)
        if part.normals is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                given = np.nan_to_num(part.normals.astype(np.float64), posinf=0, neginf=0)
            length = np.linalg.norm(given, axis=1, keepdims=True)
            table = np.concatenate([given / np.where(length > 0, length, 1), table]).astype(np.float32)
            order = part.faces if part.normal_faces is None else part.normal_faces
        else:
            order = np.zeros_like(part.faces)
        turned = from_gltf_frame(torch.from_numpy(table)).numpy() if up == "y" else table
        result.append(turned[np.where(order < len(table), order.astype(np.int64), -1)])
    return np.concatenate(result)


def _colors(part: MeshPart, srgb: bool) -> NDArray[np.float32]:
    colors = np.ones((len(part.vertices), 4), np.float32)
    if part.colors is not None:
        with np.errstate(over="ignore"):
            given = np.nan_to_num(part.colors.astype(np.float32), posinf=0, neginf=0).clip(0, 1)
        colors[:, : given.shape[1]] = given
        if srgb:
            colors[:, :3] = linear_from_srgb(torch.from_numpy(given[:, :3])).numpy()
    return colors
