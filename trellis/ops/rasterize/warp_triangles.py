"""Triangle rasteriser in Warp: a z-buffer of (depth, face) keys, then weights of the winning faces."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type, call-overload"

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device

NOTHING = torch.iinfo(torch.int64).max
# Work items that a launch should have on a GPU: faces are split into row strips to reach it.
_WANTED_THREADS = 1 << 16
_MAX_STRIPS = 256
_INFINITE = wp.constant(3.0e38)

wp.set_module_options({"enable_backward": False})


@wp.func
def _comes_after(a: wp.vec2, b: wp.vec2) -> bool:
    return a[0] > b[0] or (a[0] == b[0] and a[1] > b[1])


@wp.func
def _line(a: wp.vec2, b: wp.vec2) -> wp.vec4:
    """The ends of an edge, in the same order for both of its faces."""
    if _comes_after(a, b):
        return wp.vec4(b[0], b[1], a[0], a[1])
    return wp.vec4(a[0], a[1], b[0], b[1])


@wp.func
def _sense(a: wp.vec2, b: wp.vec2) -> float:
    """Whether `_line` has a before b (1) or not (-1)."""
    if _comes_after(a, b):
        return -1.0
    return 1.0


@wp.func
def _area(line: wp.vec4, x: float, y: float) -> float:
    """Twice the signed area of (x, y) and a line."""
    return (line[0] - x) * (line[3] - y) - (line[1] - y) * (line[2] - x)


@wp.func
def _edge(a: wp.vec2, b: wp.vec2, s: wp.vec2) -> float:
    """Twice the signed area of (s, a, b), exactly antisymmetric in a and b."""
    if _comes_after(a, b):
        return -((b[0] - s[0]) * (a[1] - s[1]) - (b[1] - s[1]) * (a[0] - s[0]))
    return (a[0] - s[0]) * (b[1] - s[1]) - (a[1] - s[1]) * (b[0] - s[0])


@wp.func
def cover(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, s: wp.vec2, perspective: int) -> wp.vec4:
    """Weights of the corners and depth at s; all weights 0 where the triangle does not cover s."""
    a = wp.vec2(p0[0], p0[1])
    b = wp.vec2(p1[0], p1[1])
    c = wp.vec2(p2[0], p2[1])
    e0 = _edge(b, c, s)
    e1 = _edge(c, a, s)
    e2 = _edge(a, b, s)
    inside = (e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0) or (e0 <= 0.0 and e1 <= 0.0 and e2 <= 0.0)
    area = e0 + e1 + e2
    if not inside or area == 0.0:
        return wp.vec4(0.0, 0.0, 0.0, 0.0)
    w0 = e0 / area
    w1 = e1 / area
    w2 = e2 / area
    if perspective == 0:
        return wp.vec4(w0, w1, w2, w0 * p0[2] + w1 * p1[2] + w2 * p2[2])
    w0 = w0 / p0[2]
    w1 = w1 / p1[2]
    w2 = w2 / p2[2]
    depth = 1.0 / (w0 + w1 + w2)
    return wp.vec4(w0 * depth, w1 * depth, w2 * depth, depth)


@wp.func
def _key(depth: float, face: int) -> wp.int64:
    """Depth in the high half (as an integer of the same order), face in the low half."""
    bits = wp.cast(depth, wp.int32)
    if bits < 0:
        bits = bits ^ 0x7FFFFFFF
    return wp.int64(bits) * wp.int64(4294967296) + wp.int64(face)


@wp.func
def _least(p: float, q: float, r: float) -> float:
    found = p
    if q < found:
        found = q
    if r < found:
        found = r
    return found


@wp.func
def _first_sample(low: float, begin: int) -> int:
    """The first sample from `begin` on whose centre is not below `low`."""
    if low <= float(begin):
        return begin
    return int(wp.ceil(low - 0.5))


@wp.func
def _last_sample(high: float, end: int) -> int:
    """The last sample before `end` whose centre is not above `high`."""
    if high >= float(end):
        return end - 1
    return int(wp.floor(high - 0.5))


@wp.func
def _depth(weights: wp.vec3, area: float, z: wp.vec3, inverse: wp.vec3, perspective: int) -> float:
    """Of a sample, from those of the corners; with perspective it is the inverse that is linear on the picture."""
    if perspective == 1:
        return area / wp.dot(weights, inverse)
    return wp.dot(weights, z) / area


@wp.kernel
def _draw(
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    count: int,
    face_count: int,
    strips: int,
    height: int,
    width: int,
    perspective: int,
    near: float,
    nearest: wp.array(dtype=wp.int64),
    first_row: int,
    end_row: int,
):
    item = wp.tid()
    number = item / strips
    view = number / face_count
    face = number - view * face_count
    corner = faces[face]
    p0 = points[view * count + corner[0]]
    p1 = points[view * count + corner[1]]
    p2 = points[view * count + corner[2]]
    low_x = _least(p0[0], p1[0], p2[0])
    high_x = -_least(-p0[0], -p1[0], -p2[0])
    low_y = _least(p0[1], p1[1], p2[1])
    high_y = -_least(-p0[1], -p1[1], -p2[1])
    if not (_least(p0[2], p1[2], p2[2]) > near and low_x < float(width) and high_x > 0.0):
        return
    if not (low_y < float(end_row) and high_y > float(first_row)):
        return
    left = _first_sample(low_x, 0)
    right = _last_sample(high_x, width)
    top = _first_sample(low_y, first_row)
    bottom = _last_sample(high_y, end_row)
    if top > bottom or left > right:
        return
    # What does not change from sample to sample is worked out once: on a CPU that is a quarter of the time.
    a = wp.vec2(p0[0], p0[1])
    b = wp.vec2(p1[0], p1[1])
    c = wp.vec2(p2[0], p2[1])
    turn = wp.where((a[0] - c[0]) * (b[1] - c[1]) < (a[1] - c[1]) * (b[0] - c[0]), -1.0, 1.0)
    line0 = _line(b, c)
    line1 = _line(c, a)
    line2 = _line(a, b)
    sense0 = turn * _sense(b, c)
    sense1 = turn * _sense(c, a)
    sense2 = turn * _sense(a, b)
    z = wp.vec3(p0[2], p1[2], p2[2])
    inverse = wp.vec3(1.0 / p0[2], 1.0 / p1[2], 1.0 / p2[2])
    y = top + item % strips
    while y <= bottom:
        row = (view * height + y) * width
        x = left + 0
        while x <= right:
            e0 = sense0 * _area(line0, float(x) + 0.5, float(y) + 0.5)
            e1 = sense1 * _area(line1, float(x) + 0.5, float(y) + 0.5)
            e2 = sense2 * _area(line2, float(x) + 0.5, float(y) + 0.5)
            if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                area = e0 + e1 + e2
                if area > 0.0 and area < _INFINITE:
                    key = _key(_depth(wp.vec3(e0, e1, e2), area, z, inverse, perspective), face)
                    if key < nearest[row + x]:
                        wp.atomic_min(nearest, row + x, key)
            x += 1
        y += strips


@wp.kernel
def _resolve(
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    nearest: wp.array(dtype=wp.int64),
    nothing: wp.int64,
    width: int,
    perspective: int,
    face_id: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=wp.float32),
    first: int,
):
    pixel = first + wp.tid()
    key = nearest[pixel]
    if key == nothing:
        face_id[pixel] = -1
        barycentric[pixel] = wp.vec3(0.0, 0.0, 0.0)
        depth[pixel] = 0.0
        return
    face = int(key & wp.int64(4294967295))
    corner = faces[face]
    s = wp.vec2(float(pixel % width) + 0.5, float(pixel / width) + 0.5)
    found = cover(points[corner[0]], points[corner[1]], points[corner[2]], s, perspective)
    face_id[pixel] = face
    barycentric[pixel] = wp.vec3(found[0], found[1], found[2])
    depth[pixel] = found[3]


@wp.kernel
def _interpolate(
    face_id: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    attributes: wp.array2d(dtype=wp.float32),
    channels: int,
    values: wp.array2d(dtype=wp.float32),
    first: int,
):
    pixel = first + wp.tid()
    face = face_id[pixel]
    if face < 0:
        for channel in range(channels):
            values[pixel, channel] = 0.0
        return
    corner = faces[face]
    weight = barycentric[pixel]
    for channel in range(channels):
        value = attributes[corner[0], channel] * weight[0]
        value += attributes[corner[1], channel] * weight[1]
        values[pixel, channel] = value + attributes[corner[2], channel] * weight[2]


def draw_faces(points: Tensor, faces: Tensor, height: int, width: int, *, perspective: bool, near: float) -> Tensor:
    """Keys [V * H * W] int64 of the nearest face at every sample of V images, NOTHING where there is none.

    points [V, n, 3]: pixels and depth of the vertices in each image; faces [F, 3]. A key has the bits of the depth in
    its high half and the face in its low half.
    """
    views, count, _ = points.shape
    nearest = torch.full((views * height * width,), NOTHING, dtype=torch.int64, device=points.device)
    strips = 1
    if points.device.type != "cpu":
        strips = max(1, min(_WANTED_THREADS // max(views * len(faces), 1), _MAX_STRIPS))
    inputs = [points, faces, count, len(faces), strips, height, width, int(perspective), near, nearest]
    warp_device.launch_rows(_draw, views * len(faces) * strips, inputs, rows=height, device=points.device)
    return nearest


def rasterize_triangles(
    points: Tensor, faces: Tensor, height: int, width: int, *, perspective: bool, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(face_id [H, W] int32, barycentric [H, W, 3], depth [H, W]); see `ops.rasterize.rasterize_triangles`."""
    device = points.device
    points = points.detach().contiguous()
    nearest = draw_faces(points[None], faces, height, width, perspective=perspective, near=near)
    face_id = torch.empty(height, width, dtype=torch.int32, device=device)
    barycentric = torch.empty(height, width, 3, device=device)
    depth = torch.empty(height, width, device=device)
    inputs = [points, faces, nearest, NOTHING, width, int(perspective), face_id, barycentric, depth]
    warp_device.launch_items(_resolve, height * width, inputs, device=device, grain=1 << 15)
    return face_id, barycentric, depth


def interpolate_attributes(face_id: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """Values [H, W, k]; see `ops.rasterize.interpolate_attributes`."""
    channels = attributes.shape[1]
    values = torch.empty(*face_id.shape, channels, device=attributes.device)
    inputs = [face_id, barycentric, faces, attributes, channels, values.view(-1, channels)]
    warp_device.launch_items(_interpolate, face_id.numel(), inputs, device=attributes.device, grain=1 << 15)
    return values
