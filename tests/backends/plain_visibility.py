"""Visibility by trying every face with every ray, in plain torch: what the kernel is compared with."""

import math

import torch
from torch import Tensor

from trellis.ops.visibility.warp_backend import INWARD, STRIDES

CHUNK = 1 << 21  # ray-face pairs at a time


def count_free_rays(
    vertices: Tensor, faces: Tensor, *, members: Tensor, starts: Tensor, rays: int, enough: int, lift: float
) -> tuple[Tensor, Tensor]:
    """Rays int32 [P] that met nothing, and rays int32 [P] that were cast; see `outside_visibility`.

    The faces of patch p are members[starts[p] : starts[p + 1]].
    """
    corners = vertices[faces.long()]
    count = len(starts) - 1
    free = torch.zeros(count, dtype=torch.int32, device=vertices.device)
    cast = torch.zeros_like(free)
    tried = torch.arange(rays, device=vertices.device)
    for part in torch.arange(count, device=vertices.device).split(max(1, CHUNK // (rays * len(faces)))):
        size = (starts[part + 1] - starts[part]).long()[:, None]
        # The faces in turn, or equally spaced ones of a large patch.
        chosen = torch.where(size > rays, tried * size // rays, tried % size)
        face = members[starts[part].long()[:, None] + chosen].long()
        begins, directions = _rays(corners[face], part[:, None] * rays + tried, lift)
        missed = ~_hits_any(begins.reshape(-1, 3), directions.reshape(-1, 3), corners).reshape(-1, rays)
        found = missed.int().cumsum(1)
        used = torch.cat([torch.ones_like(found[:, :1], dtype=torch.bool), found[:, :-1] < enough], dim=1)
        free[part] = (missed & used).int().sum(1).int()
        cast[part] = used.int().sum(1).int()
    return free, cast


def _rays(corners: Tensor, number: Tensor, lift: float) -> tuple[Tensor, Tensor]:
    """Origins and directions [n, rays, 3] of the rays with these places in the sequence, from `corners` [.., 3, 3]."""
    u = (number.double()[..., None] * torch.tensor(STRIDES, dtype=torch.float64, device=number.device)).frac().float()
    z, angle = 1 - 2 * u[..., 0], 2 * math.pi * u[..., 1]
    ring = (1 - z * z).clamp_min(0).sqrt()
    directions = torch.stack([ring * angle.cos(), ring * angle.sin(), z], dim=-1)
    a, b, c = corners.unbind(2)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    spread, along = u[..., 2:3].sqrt(), u[..., 3:4]
    begins = a * (1 - spread) + b * (spread * (1 - along)) + c * (spread * along)
    # A little inward: a point on the rim may lie outside of the wall that the face meets there.
    begins = begins + ((a + b + c) / 3 - begins) * INWARD
    side = torch.where((normal * directions).sum(-1, keepdim=True) < 0, -lift, lift)
    return begins + normal * side + directions * lift, directions


def _hits_any(starts: Tensor, directions: Tensor, corners: Tensor) -> Tensor:
    """Whether each ray [n] meets a triangle of `corners` [F, 3, 3] (Moeller and Trumbore 1997)."""
    a, b, c = corners.unbind(1)
    e, g = b - a, c - a
    across = torch.linalg.cross(directions[:, None], g[None])
    determinant = (across * e).sum(-1)
    inverse = torch.where(determinant == 0, torch.inf, 1 / determinant)
    offset = starts[:, None] - a
    u = (offset * across).sum(-1) * inverse
    turned = torch.linalg.cross(offset, e[None].expand_as(offset))
    v = (directions[:, None] * turned).sum(-1) * inverse
    distance = (g * turned).sum(-1) * inverse
    return ((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)).any(dim=1)
