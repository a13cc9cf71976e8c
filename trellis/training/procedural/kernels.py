"""All parts of a family in one launch on a GPU, through Triton: distances, owners of points, and whole traced rays.

`evaluate` holds the reference, uses these kernels where Triton runs, and checks them against itself first.
"""
# mypy: disable-error-code="no-untyped-def"
# The compiler of the kernels refuses Python types as annotations of what is on the device.

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from trellis.training.procedural.builder import OPERATIONS, SLOT_SIZE, Slots, SlotSpec
from trellis.training.procedural.primitives import BOX, CAPSULE, CONE, TORUS

_BLOCK = 256
_SPEC_SIZE = 6  # kind, operation, blended, folded at x, at y, repeat
_BOX, _CONE, _CAPSULE, _TORUS = (tl.constexpr(kind) for kind in (BOX, CONE, CAPSULE, TORUS))
_SUBTRACT, _PAINT = (tl.constexpr(OPERATIONS.index(name)) for name in ("subtract", "paint"))
_ROW, _SPEC = tl.constexpr(SLOT_SIZE), tl.constexpr(_SPEC_SIZE)
_FAR, _TINY = tl.constexpr(10.0), tl.constexpr(1e-18)
_PI = tl.constexpr(3.14159265358979)


@triton.jit
def _length(x, y):
    return tl.sqrt(x * x + y * y + _TINY)


@triton.jit
def _length3(x, y, z):
    return tl.sqrt(x * x + y * y + z * z + _TINY)


@triton.jit
def _clamp01(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def _angle(y, x):
    """atan2 to about 1e-5, enough to find a copy's sector."""
    ax, ay = tl.abs(x), tl.abs(y)
    a = tl.minimum(ax, ay) / (tl.maximum(ax, ay) + 1e-30)
    s = a * a
    r = -0.01172120 * s + 0.05265332
    r = (((r * s - 0.11643287) * s + 0.19354346) * s - 0.33262347) * s + 0.99997726
    r = r * a
    r = tl.where(ay > ax, 0.5 * _PI - r, r)
    r = tl.where(x < 0, _PI - r, r)
    return tl.where(y < 0, -r, r)


@triton.jit
def _box(x, y, z, dims):
    h, ga, gb = tl.load(dims + 2), tl.load(dims + 3), tl.load(dims + 4)
    sx, sy = tl.load(dims + 5), tl.load(dims + 6)
    half_a, half_b = tl.load(dims) + ga * z, tl.load(dims + 1) + gb * z
    u, v = x - sx * z, y - sy * z
    right = (u - half_a) * tl.rsqrt(1 + (sx + ga) * (sx + ga))
    left = (-u - half_a) * tl.rsqrt(1 + (sx - ga) * (sx - ga))
    back = (v - half_b) * tl.rsqrt(1 + (sy + gb) * (sy + gb))
    front = (-v - half_b) * tl.rsqrt(1 + (sy - gb) * (sy - gb))
    dx, dy, dz = tl.maximum(right, left), tl.maximum(back, front), tl.abs(z) - h
    outside = _length3(tl.maximum(dx, 0.0), tl.maximum(dy, 0.0), tl.maximum(dz, 0.0))
    return outside + tl.minimum(tl.maximum(tl.maximum(dx, dy), dz), 0.0)


@triton.jit
def _cone(x, y, z, dims):
    h, bottom, top = tl.load(dims), tl.load(dims + 1), tl.load(dims + 2)
    q = _length(x, y)
    slope = top - bottom
    ax = q - tl.minimum(q, tl.where(z < 0, bottom, top))
    ay = tl.abs(z) - h
    along = _clamp01(((top - q) * slope + (h - z) * 2 * h) / (slope * slope + 4 * h * h + 1e-9))
    bx, by = q - top + slope * along, z - h + 2 * h * along
    sign = tl.where((bx < 0) & (ay < 0), -1.0, 1.0)
    return sign * tl.sqrt(tl.minimum(ax * ax + ay * ay, bx * bx + by * by) + _TINY)


@triton.jit
def _capsule(x, y, z, dims):
    h, bottom, top = tl.load(dims), tl.load(dims + 1), tl.load(dims + 2)
    length = 2 * h + 1e-6
    q, w = _length(x, y), z + h
    b = tl.minimum(tl.maximum((bottom - top) / length, -0.999), 0.999)
    a = tl.sqrt(1 - b * b)
    k = a * w - b * q
    side = q * a + w * b - bottom
    return tl.where(k < 0, _length(q, w) - bottom, tl.where(k > a * length, _length(q, w - length) - top, side))


@triton.jit
def _torus(x, y, z, dims):
    ring, tube, angle = tl.load(dims), tl.load(dims + 1), tl.load(dims + 2)
    s, c = tl.sin(angle), tl.cos(angle)
    px = tl.abs(x)
    k = tl.where(c * px > s * y, px * s + y * c, _length(px, y))
    squared = px * px + y * y + z * z + ring * ring - 2 * ring * k
    return tl.sqrt(tl.maximum(squared, 0.0) + _TINY) - tube


@triton.jit
def _ellipsoid(x, y, z, dims):
    a, b, c = tl.load(dims), tl.load(dims + 1), tl.load(dims + 2)
    u, v, w = x / a, y / b, z / c
    k0 = _length3(u, v, w)
    u, v, w = u / a, v / b, w / c
    return k0 * (k0 - 1) / tl.sqrt(u * u + v * v + w * w + 1e-6)


@triton.jit
def _array(u, spacing, copies):
    shift = (copies - 1) / 2
    index = tl.maximum(tl.floor(u / tl.maximum(spacing, 1e-6) + shift + 0.5), 0.0)
    return u - (tl.minimum(index, copies - 1) - shift) * spacing


@triton.jit
def _part(spec, row, x, y, z):
    """Distance to a part, and the point in the part's own frame."""
    x = tl.where(tl.load(spec + 3) != 0, tl.abs(x), x) - tl.load(row + 9)
    y = tl.where(tl.load(spec + 4) != 0, tl.abs(y), y) - tl.load(row + 10)
    z = z - tl.load(row + 11)
    u = tl.load(row + 0) * x + tl.load(row + 1) * y + tl.load(row + 2) * z
    v = tl.load(row + 3) * x + tl.load(row + 4) * y + tl.load(row + 5) * z
    w = tl.load(row + 6) * x + tl.load(row + 7) * y + tl.load(row + 8) * z
    repeat, spacing, copies = tl.load(spec + 5), tl.load(row + 22), tl.load(row + 23)
    if repeat == 0:
        u = _array(u, spacing, copies)
    if repeat == 1:
        v = _array(v, spacing, copies)
    if repeat == 2:
        w = _array(w, spacing, copies)
    if repeat == 3:
        sector = 2 * _PI / copies
        turn = tl.floor(_angle(v, u) / sector + 0.5) * sector
        s, c = tl.sin(turn), tl.cos(turn)
        along = c * u + s * v - spacing
        v = c * v - s * u
        u = along
    kind, dims = tl.load(spec), row + 12
    if kind == _BOX:
        distance = _box(u, v, w, dims)
    elif kind == _CONE:
        distance = _cone(u, v, w, dims)
    elif kind == _CAPSULE:
        distance = _capsule(u, v, w, dims)
    elif kind == _TORUS:
        distance = _torus(u, v, w, dims)
    else:
        distance = _ellipsoid(u, v, w, dims)
    return distance - tl.load(row + 19), u, v, w


@triton.jit
def _combine(spec, row, total, distance):
    """New total, and 1 where the part owns the surface."""
    operation = tl.load(spec + 1)
    if operation == _PAINT:
        owns = (distance < 0).to(tl.int32)
    elif operation == _SUBTRACT:
        owns = (-distance > total).to(tl.int32)
        total = tl.maximum(total, -distance)
    else:
        owns = (distance < total).to(tl.int32)
        if tl.load(spec + 2) != 0:
            blend = tl.load(row + 20)
            share = _clamp01(0.5 + 0.5 * (distance - total) / blend)
            total = distance + (total - distance) * share - blend * share * (1 - share)
        else:
            total = tl.minimum(total, distance)
    return total, owns


@triton.jit
def _distance(specs, rows, count, x, y, z):
    """Signed distance in design units; parts that an object lacks are passed over."""
    total = x * 0.0 + _FAR
    for index in range(count):
        spec, row = specs + index * _SPEC, rows + index * _ROW
        if (tl.load(spec + 1) != _PAINT) & (tl.load(row + 21) == 0.0):
            distance, _, _, _ = _part(spec, row, x, y, z)
            total, _ = _combine(spec, row, total, distance)
    return total


@triton.jit
def _distance_kernel(
    points, specs, parts, scale, offset, out, count, length,
    BLOCK: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = place < length
    at = points + (item * length + place) * 3
    size = tl.load(scale + item)
    x = tl.load(at, mask, 0.0) / size + tl.load(offset + item * 3)
    y = tl.load(at + 1, mask, 0.0) / size + tl.load(offset + item * 3 + 1)
    z = tl.load(at + 2, mask, 0.0) / size + tl.load(offset + item * 3 + 2)
    total = _distance(specs, parts + item * count * _ROW, count, x, y, z)
    tl.store(out + item * length + place, total * size, mask)


@triton.jit
def _owner_kernel(
    points, specs, parts, scale, offset, owners, local, count, length,
    BLOCK: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = place < length
    start = (item * length + place) * 3
    size = tl.load(scale + item)
    x = tl.load(points + start, mask, 0.0) / size + tl.load(offset + item * 3)
    y = tl.load(points + start + 1, mask, 0.0) / size + tl.load(offset + item * 3 + 1)
    z = tl.load(points + start + 2, mask, 0.0) / size + tl.load(offset + item * 3 + 2)
    total, lu, lv, lw = x * 0.0 + _FAR, x * 0.0, x * 0.0, x * 0.0
    owner = place * 0
    for index in range(count):
        spec, row = specs + index * _SPEC, parts + (item * count + index) * _ROW
        if tl.load(row + 21) == 0.0:
            distance, u, v, w = _part(spec, row, x, y, z)
            total, owns = _combine(spec, row, total, distance)
            owner = tl.where(owns != 0, index, owner)
            lu, lv, lw = tl.where(owns != 0, u, lu), tl.where(owns != 0, v, lv), tl.where(owns != 0, w, lw)
    tl.store(owners + item * length + place, owner, mask)
    tl.store(local + start, lu, mask)
    tl.store(local + start + 1, lv, mask)
    tl.store(local + start + 2, lw, mask)


@triton.jit
def _trace_kernel(
    eyes, rays, near, far, specs, parts, scale, offset, hits, count,
    length, steps, reach, BLOCK: tl.constexpr,
):  # fmt: skip
    """Moves `near` along the rays until a surface or `far`; rays of a block that have ended cost nothing more."""
    item = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = place < length
    at = item * length + place
    size = tl.load(scale + item)
    ox = tl.load(eyes + at * 3, mask, 0.0) / size + tl.load(offset + item * 3)
    oy = tl.load(eyes + at * 3 + 1, mask, 0.0) / size + tl.load(offset + item * 3 + 1)
    oz = tl.load(eyes + at * 3 + 2, mask, 0.0) / size + tl.load(offset + item * 3 + 2)
    dx = tl.load(rays + at * 3, mask, 0.0)
    dy = tl.load(rays + at * 3 + 1, mask, 0.0)
    dz = tl.load(rays + at * 3 + 2, mask, 0.0)
    # In design units; `reach` is in world units.
    t, end = tl.load(near + at, mask, 1.0) / size, tl.load(far + at, mask, 0.0) / size
    limit = reach / size
    active = (t < end).to(tl.int32)
    hit = active * 0
    last = t * 0.0 + _FAR
    for _ in range(steps):
        if tl.max(active, 0) > 0:
            distance = _distance(specs, parts + item * count * _ROW, count, ox + t * dx, oy + t * dy, oz + t * dz)
            arrived = active * (tl.abs(distance) <= limit).to(tl.int32)
            hit = hit | arrived
            active = active - arrived
            t = tl.where(active != 0, t + 0.95 * distance, t)
            last = tl.where(active != 0, distance, last)
            active = active * (t < end).to(tl.int32)
    hit = hit | (active * (tl.abs(last) < 8 * limit).to(tl.int32))
    tl.store(near + at, t * size, mask)
    tl.store(hits + at, hit, mask)


@cache
def _table(specs: tuple[SlotSpec, ...], device: torch.device) -> Tensor:
    rows = [[s.kind, OPERATIONS.index(s.operation), s.blended, s.mirror_x, s.mirror_y, s.repeat] for s in specs]
    return torch.tensor(rows, dtype=torch.int32, device=device)


def _geometry(slots: Slots) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts = (slots.params, slots.scale, slots.offset)
    params, scale, offset = (part.contiguous() for part in parts)
    return _table(slots.specs, params.device), params, scale, offset


def _grid(items: int, length: int) -> tuple[int, int]:
    return triton.cdiv(length, _BLOCK), items


def distances(slots: Slots, points: Tensor) -> Tensor:
    """Signed distance [B, M] in world units at float32 `points` [B, M, 3]."""
    points = points.contiguous()
    items, length = points.shape[:2]
    out = torch.empty(items, length, device=points.device)
    if out.numel():
        _distance_kernel[_grid(items, length)](
            points, *_geometry(slots), out, len(slots.specs), length, BLOCK=_BLOCK
        )  # fmt: skip
    return out


def owners(slots: Slots, points: Tensor) -> tuple[Tensor, Tensor]:
    """Part that owns each point, int64 [B, M], and the point in the part's frame [B, M, 3]."""
    points = points.contiguous()
    items, length = points.shape[:2]
    owner = torch.zeros(items, length, dtype=torch.int32, device=points.device)
    local = torch.zeros_like(points)
    if owner.numel():
        _owner_kernel[_grid(items, length)](
            points, *_geometry(slots), owner, local, len(slots.specs), length, BLOCK=_BLOCK
        )  # fmt: skip
    return owner.long(), local


def trace(
    slots: Slots, eyes: Tensor, rays: Tensor, *, near: Tensor, far: Tensor, steps: int, reach: float
) -> tuple[Tensor, Tensor]:
    """Distances [B, M] along unit `rays` [B, M, 3] from `eyes`, between `near` and `far` [B, M], and which rays hit.

    A ray has arrived within `reach` (world units) of the surface.
    """
    items, length = near.shape
    t = near.clone().contiguous()
    hits = torch.zeros(items, length, dtype=torch.int32, device=near.device)
    if t.numel():
        _trace_kernel[_grid(items, length)](
            eyes.contiguous(), rays.contiguous(), t, far.contiguous(), *_geometry(slots), hits, len(slots.specs),
            length, steps, reach, BLOCK=_BLOCK,
        )  # fmt: skip
    return t, hits.bool()
