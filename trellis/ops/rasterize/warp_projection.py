"""Projection of Gaussians in Warp: one launch a camera, where plain torch takes some sixty small ones."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type, assignment"

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device

wp.set_module_options({"enable_backward": False})


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


@wp.kernel
def _project(
    positions: wp.array(dtype=wp.vec3),
    axes: wp.array(dtype=wp.mat33),
    opacities: wp.array(dtype=wp.float32),
    extrinsics: wp.array(dtype=wp.float32),
    intrinsics: wp.array(dtype=wp.float32),
    size: int,
    filter_2d: float,
    near: float,
    floor: float,
    tile: float,
    min_alpha: float,
    means: wp.array(dtype=wp.vec2),
    conics: wp.array(dtype=wp.vec3),
    filtered: wp.array(dtype=wp.float32),
    boxes: wp.array(dtype=wp.vec4i),
    depths: wp.array(dtype=wp.float32),
):
    i = wp.tid()
    right = wp.vec3(extrinsics[0], extrinsics[1], extrinsics[2])
    down = wp.vec3(extrinsics[4], extrinsics[5], extrinsics[6])
    forward = wp.vec3(extrinsics[8], extrinsics[9], extrinsics[10])
    p = positions[i]
    depth = wp.dot(forward, p) + extrinsics[11]
    visible = depth > near
    z = wp.float32(1.0)
    if visible:
        z = depth
    ratio_x = (wp.dot(right, p) + extrinsics[3]) / z
    ratio_y = (wp.dot(down, p) + extrinsics[7]) / z
    side = float(size)
    focal_x = intrinsics[0] * side
    focal_y = intrinsics[4] * side
    mean = wp.vec2(ratio_x * focal_x + intrinsics[2] * side - 0.5, ratio_y * focal_y + intrinsics[5] * side - 0.5)
    limit_x = 0.65 * side / focal_x
    limit_y = 0.65 * side / focal_y
    row_x = (right - forward * wp.clamp(ratio_x, -limit_x, limit_x)) * (focal_x / z)
    row_y = (down - forward * wp.clamp(ratio_y, -limit_y, limit_y)) * (focal_y / z)
    turned = wp.transpose(axes[i])
    spread_x = turned * row_x
    spread_y = turned * row_y
    plain_a = wp.dot(spread_x, spread_x)
    b = wp.dot(spread_x, spread_y)
    plain_c = wp.dot(spread_y, spread_y)
    a = plain_a + filter_2d
    c = plain_c + filter_2d
    before = wp.max(plain_a * plain_c - b * b, floor)
    after = wp.max(a * c - b * b, floor)
    opacity = wp.float32(0.0)
    key = float(wp.inf)
    if visible and before > floor and after > floor:
        opacity = opacities[i] * wp.sqrt(before / (after + floor) + floor)
        key = z
    means[i] = mean
    conics[i] = wp.vec3(c / after, -b / after, a / after)
    filtered[i] = opacity
    boxes[i] = _box(mean, wp.vec3(a, b, c), opacity, size, tile, min_alpha)
    depths[i] = key


def project_gaussians(
    positions: Tensor,
    axes: Tensor,
    *,
    opacities: Tensor,
    extrinsics: Tensor,
    intrinsics: Tensor,
    size: int,
    filter_2d: float,
    limits: tuple[float, float, float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(means, conics, opacities, boxes int32, depths) of `ops.rasterize.project_gaussians` before the sorting.

    depths [n] is the camera's z, infinite where nothing is drawn; limits are nearest depth, least determinant, side of
    a tile and least alpha.
    """
    device, count = positions.device, len(positions)
    means, conics, boxes = (
        torch.empty(count, 2, device=device),
        torch.empty(count, 3, device=device),
        torch.empty(count, 4, dtype=torch.int32, device=device),
    )
    filtered, depths = torch.empty(count, device=device), torch.empty(count, device=device)
    inputs = [
        warp_device.view(positions, wp.vec3),
        warp_device.view(axes, wp.mat33),
        warp_device.view(opacities, wp.float32),
        warp_device.view(extrinsics.float().reshape(-1), wp.float32),
        warp_device.view(intrinsics.float().reshape(-1), wp.float32),
        size,
        float(filter_2d),
        *limits,
        warp_device.view(means, wp.vec2),
        warp_device.view(conics, wp.vec3),
        warp_device.view(filtered, wp.float32),
        warp_device.view(boxes, wp.vec4i),
        warp_device.view(depths, wp.float32),
    ]
    warp_device.launch(_project, count, inputs, device=device)
    return means, conics, filtered, boxes, depths
