"""Even samples of a surface with their normals and colours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.encoding.colors import surface_colors
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.runtime import has_float64


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


def face_normals(mesh: SourceMesh, faces: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Unit normals [n, 3] float32 and areas [n] float64 of the faces with the given numbers, by default of all.

    Both are 0 for faces without area.
    """
    corners = mesh.corners(faces)
    exact = corners.double() if has_float64(mesh.device) else corners
    a, b, c = exact.unbind(1)
    product = torch.linalg.cross(b - a, c - a)
    length = torch.linalg.vector_norm(product, dim=1, keepdim=True)
    normals = torch.where(length > 0, product / length.clamp_min(torch.finfo(product.dtype).tiny), 0.0)
    return normals.float(), length[:, 0] / 2


def sample_surface(
    mesh: SourceMesh, count: int, *, generator: torch.Generator, filtering: str = "linear"
) -> SurfaceSamples:
    """`count` points, uniform over the area of the faces, on the mesh's device.

    generator: on the CPU, so that one seed gives the same points on every device. Raises InvalidInputError for a mesh
    without area or a count below 0.
    """
    if count < 0:
        raise InvalidInputError(f"The number of samples must be at least 0, not {count}.")
    normals, areas = face_normals(mesh)
    # The running sum is taken on the CPU: a GPU would add in another order.
    ends = areas.cpu().double().cumsum(0)
    if not len(ends) or not ends[-1] > 0:
        raise InvalidInputError("The mesh has no area to take samples of.")
    draws = torch.rand(3, count, generator=generator, dtype=torch.float64)
    # A face without area ends where the one before it ends: `right` steps over it.
    face = torch.searchsorted(ends, draws[0] * ends[-1], right=True).clamp_max(int((areas > 0).nonzero().max()))
    root = draws[1].sqrt()
    barycentrics = torch.stack([1 - root, root * (1 - draws[2]), root * draws[2]], 1).float().to(mesh.device)
    face = face.to(mesh.device)
    points = (mesh.corners(face) * barycentrics[..., None]).sum(1)
    colors = surface_colors(mesh, face, barycentrics, filtering=filtering)
    return SurfaceSamples(points, normals[face], colors[:, :3], colors[:, 3], face, barycentrics)
