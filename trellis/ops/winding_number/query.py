"""The inside-outside query, and its reference in plain torch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trellis.errors import InvalidInputError

BACKENDS = ("warp", "reference")
THRESHOLD = 0.5  # halfway between outside (0) and inside (1); a mesh with holes takes values between
CHUNK = 1 << 20  # point-face pairs at a time


def inside_query(vertices: Tensor, faces: Tensor, *, backend: str = "warp") -> Callable[[Tensor], Tensor]:
    """A function from points [n, 3] to bool [n]: whether the mesh's generalised winding number there is above 0.5.

    vertices [V, 3], faces [F, 3], counter-clockwise seen from outside; all tensors on one device. Meshes may have holes
    and overlap themselves. `warp` sums distant faces in groups; `reference` adds the solid angle of every face.
    Source: Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers" (2013).
    Raises InvalidInputError for an empty mesh or an unknown back end.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"Unknown back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so nothing is inside of it.")
    vertices = vertices.detach().float().contiguous()
    if backend == "warp":  # imported at the call: Warp takes half a second to load
        from trellis.ops.winding_number import warp_backend

        inside = warp_backend.build(vertices, faces, THRESHOLD)
    else:
        inside = sum_of_angles(vertices, faces, THRESHOLD)
    return lambda points: inside(points.detach().float().contiguous())


def sum_of_angles(vertices: Tensor, faces: Tensor, threshold: float) -> Callable[[Tensor], Tensor]:
    """As `warp_backend.build`, by the solid angle of every face."""
    corners, size = vertices[faces.long()], max(1, CHUNK // len(faces))

    def inside(points: Tensor) -> Tensor:
        found = [_winding(part, corners) > threshold for part in points.split(size)]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.bool, device=points.device)

    return inside


def _winding(points: Tensor, corners: Tensor) -> Tensor:
    """Sum of signed solid angles over 4 pi (Van Oosterom and Strackee 1983)."""
    a, b, c = (corners[None] - points[:, None, None]).unbind(2)
    la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
    above = (a * torch.linalg.cross(b, c)).sum(-1)
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(above, below).sum(1) / (2 * math.pi)
