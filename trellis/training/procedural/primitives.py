"""Signed distances and support functions of the primitives, in their local frame, negative inside.

Formulas for capped cone, round cone, arc torus and ellipsoid are Inigo Quilez's ("distance functions"). Every function
is elementwise in x, y, z [B, M] with parameters [B, 1], without branches, so that a compiler can fuse it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DIMS = 7  # parameters of a primitive; unused ones are zero
BOX, CONE, CAPSULE, TORUS, ELLIPSOID = range(5)
_TINY = 1e-9


def _norm(*parts: Tensor) -> Tensor:
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return torch.sqrt(total + _TINY * _TINY)


def box(x: Tensor, y: Tensor, z: Tensor, dims: Sequence[Tensor]) -> Tensor:
    """Frustum box: half sizes (a, b) at mid height, half height h, growth of (a, b) and shift of the centre per z.

    `dims` = a, b, h, grow_a, grow_b, shear_x, shear_y. Exact for plain boxes, first-order exact otherwise.
    """
    a, b, h, ga, gb, sx, sy = dims
    half_a, half_b = a + ga * z, b + gb * z
    u, v = x - sx * z, y - sy * z
    right = (u - half_a) * torch.rsqrt(1 + (sx + ga) ** 2)
    left = (-u - half_a) * torch.rsqrt(1 + (sx - ga) ** 2)
    back = (v - half_b) * torch.rsqrt(1 + (sy + gb) ** 2)
    front = (-v - half_b) * torch.rsqrt(1 + (sy - gb) ** 2)
    dx, dy, dz = torch.maximum(right, left), torch.maximum(back, front), z.abs() - h
    outside = _norm(dx.clamp_min(0), dy.clamp_min(0), dz.clamp_min(0))
    return outside + torch.maximum(torch.maximum(dx, dy), dz).clamp_max(0)


def cone(x: Tensor, y: Tensor, z: Tensor, dims: Sequence[Tensor]) -> Tensor:
    """Capped cone (or cylinder) along z: half height, bottom radius, top radius."""
    h, bottom, top = dims[0], dims[1], dims[2]
    q = _norm(x, y)
    slope = top - bottom
    ax = q - torch.minimum(q, torch.where(z < 0, bottom, top))
    ay = z.abs() - h
    along = (((top - q) * slope + (h - z) * 2 * h) / (slope * slope + 4 * h * h + _TINY)).clamp(0, 1)
    bx, by = q - top + slope * along, z - h + 2 * h * along
    sign = torch.where((bx < 0) & (ay < 0), -1.0, 1.0)
    return sign * torch.sqrt(torch.minimum(ax * ax + ay * ay, bx * bx + by * by) + _TINY * _TINY)


def capsule(x: Tensor, y: Tensor, z: Tensor, dims: Sequence[Tensor]) -> Tensor:
    """Round cone along z: half distance of the two sphere centres, bottom radius, top radius."""
    h, bottom, top = dims[0], dims[1], dims[2]
    length = 2 * h + 1e-6
    q, w = _norm(x, y), z + h
    b = ((bottom - top) / length).clamp(-0.999, 0.999)
    a = torch.sqrt(1 - b * b)
    k = a * w - b * q
    side = q * a + w * b - bottom
    return torch.where(k < 0, _norm(q, w) - bottom, torch.where(k > a * length, _norm(q, w - length) - top, side))


def torus(x: Tensor, y: Tensor, z: Tensor, dims: Sequence[Tensor]) -> Tensor:
    """Arc of a torus in the xy plane, symmetric about +y: ring radius, tube radius, half angle of the arc."""
    ring, tube, angle = dims[0], dims[1], dims[2]
    s, c = torch.sin(angle), torch.cos(angle)
    px = x.abs()
    k = torch.where(c * px > s * y, px * s + y * c, _norm(px, y))
    squared = px * px + y * y + z * z + ring * ring - 2 * ring * k
    return torch.sqrt(squared.clamp_min(0) + _TINY * _TINY) - tube


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, dims: Sequence[Tensor]) -> Tensor:
    """Ellipsoid with three half axes; first-order exact at the surface."""
    a, b, c = dims[0], dims[1], dims[2]
    u, v, w = x / a, y / b, z / c
    k0 = _norm(u, v, w)
    k1 = torch.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2 + 1e-6)
    return k0 * (k0 - 1) / k1


DISTANCES: tuple[Callable[[Tensor, Tensor, Tensor, Sequence[Tensor]], Tensor], ...] = (
    box,
    cone,
    capsule,
    torus,
    ellipsoid,
)


def support(kind: int, direction: Tensor, dims: Tensor, rounding: Tensor) -> Tensor:
    """Largest extent [B] of a primitive along a local unit `direction` [B, 3]; `dims` [B, DIMS], `rounding` [B]."""
    dx, dy, dz = direction.unbind(-1)
    d = dims.unbind(-1)
    if kind == BOX:
        a, b, h, ga, gb, sx, sy = d
        ends = []
        for z in (h, -h):
            widths = dx.abs() * (a + ga * z) + dy.abs() * (b + gb * z)
            ends.append(widths + (dx * sx + dy * sy + dz) * z)
        extent = torch.maximum(ends[0], ends[1])
    elif kind == CONE:
        side = torch.sqrt(dx * dx + dy * dy)
        extent = torch.maximum(d[0] * dz + d[2] * side, -d[0] * dz + d[1] * side)
    elif kind == CAPSULE:
        extent = torch.maximum(d[0] * dz + d[2], -d[0] * dz + d[1])
    elif kind == TORUS:
        steps = torch.linspace(-1, 1, 17, dtype=dims.dtype) * d[2][:, None]
        extent = (d[0][:, None] * (dx[:, None] * steps.sin() + dy[:, None] * steps.cos())).amax(1) + d[1]
    else:
        extent = torch.sqrt((d[0] * dx) ** 2 + (d[1] * dy) ** 2 + (d[2] * dz) ** 2)
    return extent + rounding


FULL_TURN = math.pi - 1e-4  # half angle of a closed torus; above pi the arc formula would leave a slit
