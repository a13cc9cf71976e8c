"""Small meshes with known properties for the export tests."""

from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray

from trellis.export.chain import ExportChain, FileSources
from trellis.export.options import FileOptions
from trellis.export.projection import ViewOptions
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh, TexturedMesh


def painted(points: torch.Tensor) -> torch.Tensor:
    """A smooth colour [n, 3] in [0, 1] of every point in space: what a bake must reproduce."""
    x, y, z = points.unbind(-1)
    return 0.5 + 0.5 * torch.stack([torch.sin(4 * x + 1), torch.sin(5 * y), torch.sin(6 * z + 2 * x)], dim=-1)


def as_mesh(shape: trimesh.Trimesh, *, colored: bool = True) -> Mesh:
    vertices = torch.from_numpy(np.array(shape.vertices, dtype=np.float32))
    faces = torch.from_numpy(np.array(shape.faces, dtype=np.int32))
    return Mesh(vertices, faces, painted(vertices) if colored else None)


def sphere(subdivisions: int = 3, *, radius: float = 0.4, center: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    shape.apply_translation(center)
    return as_mesh(shape)


def joined(*meshes: Mesh) -> Mesh:
    """All meshes as one; vertices are not shared between them."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        torch.cat([mesh.vertices for mesh in meshes]),
        torch.cat([mesh.faces + int(offset) for mesh, offset in zip(meshes, offsets)]),
        torch.cat([mesh.attributes for mesh in meshes if mesh.attributes is not None]),
    )


def without_faces(mesh: Mesh, drop: torch.Tensor) -> Mesh:
    """`mesh` less the faces where `drop` [F] is True."""
    return Mesh(mesh.vertices, mesh.faces[~drop], mesh.attributes)


def flipped(mesh: Mesh, which: torch.Tensor | None = None) -> Mesh:
    """The same mesh with the faces where `which` [F] is True (default all) wound the other way."""
    turned = mesh.faces.flip(1)
    faces = turned if which is None else torch.where(which[:, None], turned, mesh.faces)
    return Mesh(mesh.vertices, faces.contiguous(), mesh.attributes)


def reader(mesh: Mesh) -> trimesh.Trimesh:
    """The mesh in trimesh, untouched: an independent judge of volume and closedness."""
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


def textured_mesh(
    mesh: Mesh,
    gaussians: GaussianCloud | None = None,
    *,
    picture: NDArray[np.uint8] | None = None,
    views: tuple[int, int] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> TexturedMesh:
    """What the export makes of `mesh` with these options, by default of all its faces with 512 texels a side.

    views: count and side of the pictures of the Gaussians.
    """
    whole = {} if "faces" in options else {"simplify": 0}
    chosen = FileOptions(**{**whole, "texture_size": 512, **options})
    sources = FileSources(gaussians, mesh, picture)
    return ExportChain(sources, chosen, progress=progress, views=ViewOptions(*views) if views else None).textured
