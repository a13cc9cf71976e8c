"""Winding number by the solid angle of every face, in plain torch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 1 << 20  # point-face pairs at a time


def build(vertices: Tensor, faces: Tensor, threshold: float) -> Callable[[Tensor], Tensor]:
    """The query: points [n, 3] -> bool [n], winding number above `threshold`."""
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
