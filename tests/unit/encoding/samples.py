"""Even samples of a surface with their normals and colours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.encoding.colors import surface_colors
from trellis.encoding.normals import face_normals
from trellis.encoding.source_mesh import SourceMesh


@dataclass(frozen=True)
class SurfaceSamples:
    """n points of a surface.

    points [n, 3] in the mesh's world; normals [n, 3] unit, of the faces (counter-clockwise is outside); colors [n, 3]
    sRGB and alpha [n] in [0, 1]; faces [n] int64 and barycentrics [n, 3] say where they lie.
    """

    points: Tensor
    normals: Tensor
    colors: Tensor
    alpha: Tensor
    faces: Tensor
    barycentrics: Tensor


def sample_surface(mesh: SourceMesh, count: int, *, generator: torch.Generator) -> SurfaceSamples:
    """`count` points, uniform over the area of the faces."""
    normals, areas = face_normals(mesh)
    ends = areas.cumsum(0)
    # A face without area ends where the one before it ends: `right` steps over it.
    draws = torch.rand(3, count, generator=generator, dtype=torch.float64)
    face = torch.searchsorted(ends, draws[0] * ends[-1], right=True).clamp_max(int((areas > 0).nonzero().max()))
    root = draws[1].sqrt()
    barycentrics = torch.stack([1 - root, root * (1 - draws[2]), root * draws[2]], 1).float()
    points = (mesh.corners(face) * barycentrics[..., None]).sum(1)
    colors = surface_colors(mesh, face, barycentrics)
    return SurfaceSamples(points, normals[face], colors[:, :3], colors[:, 3], face, barycentrics)
