"""Public entry of the closest point query."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError

BACKENDS = ("warp", "reference")


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface: faces [n] int64; barycentrics [n, 3] of the face's corners; distances [n] to the query."""

    faces: Tensor
    barycentrics: Tensor
    distances: Tensor


def closest_point(points: Tensor, vertices: Tensor, faces: Tensor, *, backend: str = "warp") -> SurfacePoints:
    """The nearest surface point of each of `points` [n, 3] on the mesh `vertices` [V, 3], `faces` [F, 3].

    All tensors on one device; the result is on it too. `warp` builds a bounding volume tree; `reference` compares
    every point with every face. Raises InvalidInputError for an empty mesh or an unknown back end.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"Unknown back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so no point of it is nearest.")
    points, vertices = points.detach().float().contiguous(), vertices.detach().float().contiguous()
    # Imported at the call: Warp takes half a second to load and is needed for this alone.
    if backend == "warp":
        from trellis.ops.closest_point.warp_backend import nearest
    else:
        from trellis.ops.closest_point.reference import nearest
    face, barycentrics = nearest(points, vertices, faces)
    found = torch.einsum("nc,ncd->nd", barycentrics, vertices[faces[face].long()])
    return SurfacePoints(face, barycentrics, torch.linalg.vector_norm(found - points, dim=1))
