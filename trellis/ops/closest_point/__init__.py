"""The nearest point of a triangle mesh, by a kernel in Warp."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface: faces [n] int64; barycentrics [n, 3] of the face's corners; distances [n] to the query."""

    faces: Tensor
    barycentrics: Tensor
    distances: Tensor


def closest_point(points: Tensor, vertices: Tensor, faces: Tensor) -> SurfacePoints:
    """The nearest surface point of each of `points` [n, 3]; see `closest_query`, which is for asking again."""
    return closest_query(vertices, faces)(points)


def closest_query(vertices: Tensor, faces: Tensor) -> Callable[[Tensor], SurfacePoints]:
    """A function from points [n, 3] to the nearest surface points on the mesh `vertices` [V, 3], `faces` [F, 3].

    All tensors on one device; the result is on it too. Raises InvalidInputError for an empty mesh.
    """
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so no point of it is nearest.")
    vertices = vertices.detach().float().contiguous()
    # Imported at the call: Warp takes half a second to load and is needed for this alone.
    from trellis.ops.closest_point import warp_backend

    nearest = warp_backend.build(vertices, faces)

    def closest(points: Tensor) -> SurfacePoints:
        points = points.detach().float().contiguous()
        face, barycentrics = nearest(points)
        found = torch.einsum("nc,ncd->nd", barycentrics, vertices[faces[face].long()])
        return SurfacePoints(face, barycentrics, torch.linalg.vector_norm(found - points, dim=1))

    return closest
