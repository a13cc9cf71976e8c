"""Projection of Gaussians into many cameras in Warp: one launch, where plain torch takes some sixty a camera."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type, assignment, index"

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.ops import warp_device
from trellis.ops.rasterize.scenes import FLOOR, MIN_ALPHA, NEAR, TILE, Gaussians

wp.set_module_options({"enable_backward": False})


@dataclass(frozen=True)
class ProjectedGaussians:
    """n Gaussians in each of V images, in the order of the cloud.

    shapes [V, n, 4]: mean x, y in pixels (the centre of pixel i being i) and the inverse covariance's xx, xy;
    rests [V, n, 4]: its yy, the opacity after the mip filter, the exponent under which alpha is below 1/255, and
    camera z; boxes [V, n, 4] int32 half-open pixel ranges (x0, y0, x1, y1), empty for Gaussians that are not seen;
    touched [V, n] int32: tiles that the box meets.
    """

    shapes: Tensor
    rests: Tensor
    boxes: Tensor
    touched: Tensor


@wp.func
def _box(mean: wp.vec2, covariance: wp.vec3, opacity: float, size: int, tile: float, min_alpha: float) -> wp.vec4i:
    """See `gaussians._boxes`, whose lines these follow."""
    half = 0.5 * (covariance[0] + covariance[2])
    determinant = covariance[0] * covariance[2] - covariance[1] * covariance[1]
    radius = wp.ceil(3.0 * wp.sqrt(half + wp.sqrt(wp.max(half * half - determinant, 0.1))))
    power = 2.0 * wp.log(wp.max(opacity / min_alpha, 1.0e-30))
    nothing = wp.vec4i(0, 0, 0, 0)
    if not (power >= 0.0 and wp.isfinite(mean[0] + mean[1]) and wp.isfinite(half) and wp.isfinite(covariance[1])):
        return nothing
    tiles = wp.ceil(float(size) / tile)
    low = wp.vec2(0.0, 0.0)
    high = wp.vec2(0.0, 0.0)
    for axis in range(2):
        reach = wp.sqrt(power * covariance[2 * axis]) * 1.001 + 0.01
        first = wp.clamp(wp.trunc((mean[axis] - radius) / tile), 0.0, tiles) * tile
        last = wp.min(wp.clamp(wp.trunc((mean[axis] + radius + tile - 1.0) / tile), 0.0, tiles) * tile, float(size))
        low[axis] = wp.max(first, wp.ceil(mean[axis] - reach))
        high[axis] = wp.min(last, wp.floor(mean[axis] + reach) + 1.0)
    if high[0] <= low[0] or high[1] <= low[1]:
        return nothing
    return wp.vec4i(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


@wp.func
def _axes(rotation: wp.vec4, scales: wp.vec3) -> wp.mat33:
    """Rotation matrix of a quaternion (w, x, y, z) of any length, its columns scaled."""
    q = rotation / wp.max(wp.length(rotation), 1.0e-12)
    w = q[0]
    x = q[1]
    y = q[2]
    z = q[3]
    return wp.mat33(
        (1.0 - 2.0 * (y * y + z * z)) * scales[0], 2.0 * (x * y - w * z) * scales[1], 2.0 * (x * z + w * y) * scales[2],
        2.0 * (x * y + w * z) * scales[0], (1.0 - 2.0 * (x * x + z * z)) * scales[1], 2.0 * (y * z - w * x) * scales[2],
        2.0 * (x * z - w * y) * scales[0], 2.0 * (y * z + w * x) * scales[1], (1.0 - 2.0 * (x * x + y * y)) * scales[2],
    )  # fmt: skip


@wp.func
def _covariance(axes: wp.mat33, pose: wp.mat44, ratio: wp.vec2, focal: wp.vec2, z: float, side: float) -> wp.vec3:
    """Covariance (xx, xy, yy) in squared pixels, before the filter, of a Gaussian at camera (x / z, y / z) and z."""
    right = wp.vec3(pose[0, 0], pose[0, 1], pose[0, 2])
    down = wp.vec3(pose[1, 0], pose[1, 1], pose[1, 2])
    forward = wp.vec3(pose[2, 0], pose[2, 1], pose[2, 2])
    limit_x = 0.65 * side / focal[0]
    limit_y = 0.65 * side / focal[1]
    row_x = (right - forward * wp.clamp(ratio[0], -limit_x, limit_x)) * (focal[0] / z)
    row_y = (down - forward * wp.clamp(ratio[1], -limit_y, limit_y)) * (focal[1] / z)
    turned = wp.transpose(axes)
    spread_x = turned * row_x
    spread_y = turned * row_y
    return wp.vec3(wp.dot(spread_x, spread_x), wp.dot(spread_x, spread_y), wp.dot(spread_y, spread_y))


@wp.kernel
def _project(
    positions: wp.array(dtype=wp.vec3),
    rotations: wp.array(dtype=wp.vec4),
    scales: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=wp.float32),
    extrinsics: wp.array(dtype=wp.mat44),
    intrinsics: wp.array(dtype=wp.mat33),
    count: int,
    size: int,
    filter_2d: float,
    near: float,
    floor: float,
    tile: float,
    min_alpha: float,
    shapes: wp.array(dtype=wp.vec4),
    rests: wp.array(dtype=wp.vec4),
    boxes: wp.array(dtype=wp.vec4i),
    touched: wp.array(dtype=wp.int32),
    first: int,
):
    item = first + wp.tid()
    view = item / count
    i = item - view * count
    pose = extrinsics[view]
    lens = intrinsics[view]
    p = positions[i]
    depth = pose[2, 0] * p[0] + pose[2, 1] * p[1] + pose[2, 2] * p[2] + pose[2, 3]
    visible = depth > near
    z = wp.float32(1.0)
    if visible:
        z = depth
    ratio_x = (pose[0, 0] * p[0] + pose[0, 1] * p[1] + pose[0, 2] * p[2] + pose[0, 3]) / z
    ratio_y = (pose[1, 0] * p[0] + pose[1, 1] * p[1] + pose[1, 2] * p[2] + pose[1, 3]) / z
    side = float(size)
    focal_x = lens[0, 0] * side
    focal_y = lens[1, 1] * side
    mean = wp.vec2(ratio_x * focal_x + lens[0, 2] * side - 0.5, ratio_y * focal_y + lens[1, 2] * side - 0.5)
    plain = _covariance(
        _axes(rotations[i], scales[i]), pose, wp.vec2(ratio_x, ratio_y), wp.vec2(focal_x, focal_y), z, side
    )
    b = plain[1]
    a = plain[0] + filter_2d
    c = plain[2] + filter_2d
    before = wp.max(plain[0] * plain[2] - b * b, floor)
    after = wp.max(a * c - b * b, floor)
    opacity = wp.float32(0.0)
    if visible and before > floor and after > floor:
        opacity = opacities[i] * wp.sqrt(before / (after + floor) + floor)
    box = _box(mean, wp.vec3(a, b, c), opacity, size, tile, min_alpha)
    boxes[item] = box
    if box[2] <= box[0]:
        touched[item] = 0
        return
    edge = int(tile)
    columns = (box[2] + edge - 1) / edge - box[0] / edge
    touched[item] = columns * ((box[3] + edge - 1) / edge - box[1] / edge)
    shapes[item] = wp.vec4(mean[0], mean[1], c / after, -b / after)
    # The margin keeps what rounding may lift over the limit.
    cutoff = wp.log(min_alpha / opacity) - 1.0e-3
    rests[item] = wp.vec4(a / after, opacity, cutoff, depth)


def project_gaussians(cloud: Gaussians, cameras: Cameras, *, size: int) -> ProjectedGaussians:
    """Project Gaussians into V cameras; see `ops.rasterize.splat_gaussians`.

    Rows of shapes and rests that belong to empty boxes are left unwritten.
    """
    device, count, views = cloud.positions.device, len(cloud), len(cameras)
    projected = ProjectedGaussians(
        torch.empty(views, count, 4, device=device),
        torch.empty(views, count, 4, device=device),
        torch.empty(views, count, 4, dtype=torch.int32, device=device),
        torch.empty(views, count, dtype=torch.int32, device=device),
    )
    inputs = [
        cloud.positions, cloud.rotations, cloud.scales, cloud.opacities, cameras.extrinsics, cameras.intrinsics, count,
        size, float(cloud.filter_2d), NEAR, FLOOR, float(TILE), MIN_ALPHA, projected.shapes, projected.rests,
        projected.boxes, projected.touched,
    ]  # fmt: skip
    warp_device.launch_items(_project, views * count, inputs, device=device, grain=1 << 14)
    return projected
