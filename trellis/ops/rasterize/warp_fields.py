"""Radiance-field integration in Warp: one thread a ray, walking the voxel grid."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type"

# Warp takes a bare number for a constant; float(0.0) declares a variable.
# ruff: noqa: UP018, RUF046

import torch
import warp as wp
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.ops import warp_device
from trellis.ops.rasterize.scenes import VoxelField

wp.set_module_options({"enable_backward": False})


@wp.func
def _leave(origin: wp.vec3, direction: wp.vec3, low: wp.vec3, side: float) -> float:
    """Distance at which a ray that is in the box leaves it."""
    nearest = float(1.0e30)
    for axis in range(3):
        d = direction[axis]
        if wp.abs(d) > 1.0e-12:
            wall = low[axis]
            if d > 0.0:
                wall += side
            nearest = wp.min(nearest, (wall - origin[axis]) / d)
    return nearest


@wp.func
def _enter(origin: wp.vec3, direction: wp.vec3) -> float:
    """Distance at which a ray enters the cube [-0.5, 0.5]^3; 1e30 when it misses."""
    begin = float(0.0)
    end = float(1.0e30)
    for axis in range(3):
        d = direction[axis]
        if wp.abs(d) < 1.0e-12:
            if wp.abs(origin[axis]) > 0.5:
                end = -1.0
        else:
            a = (-0.5 - origin[axis]) / d
            b = (0.5 - origin[axis]) / d
            begin = wp.max(begin, wp.min(a, b))
            end = wp.min(end, wp.max(a, b))
    if end <= begin:
        return 1.0e30
    return begin


@wp.func
def _softplus(x: float) -> float:
    return wp.max(x, 0.0) + wp.log(1.0 + wp.exp(-wp.abs(x)))


@wp.func
def _evaluate(
    at: wp.vec3,
    voxel: int,
    trivec: wp.array(dtype=wp.float32),
    density: wp.array(dtype=wp.float32),
    features: wp.array(dtype=wp.vec3),
    rank: int,
    length: int,
) -> wp.vec4:
    """Raw colour and raw density at a point of a voxel, in cells of its vectors."""
    cx = wp.clamp(int(wp.floor(at[0])), 0, length - 2)
    cy = wp.clamp(int(wp.floor(at[1])), 0, length - 2)
    cz = wp.clamp(int(wp.floor(at[2])), 0, length - 2)
    fx = at[0] - float(cx)
    fy = at[1] - float(cy)
    fz = at[2] - float(cz)
    thickness = float(0.0)
    tint = wp.vec3(0.0, 0.0, 0.0)
    for r in range(rank):
        line = voxel * rank + r
        bx = line * 3 * length + cx
        by = line * 3 * length + length + cy
        bz = line * 3 * length + 2 * length + cz
        weight = (
            wp.lerp(trivec[bx], trivec[bx + 1], fx)
            * wp.lerp(trivec[by], trivec[by + 1], fy)
            * wp.lerp(trivec[bz], trivec[bz + 1], fz)
        )
        thickness += density[line] * weight
        tint += features[line] * weight
    return wp.vec4(tint[0], tint[1], tint[2], thickness)


@wp.kernel
def _march(
    extrinsics: wp.array(dtype=wp.mat44),
    intrinsics: wp.array(dtype=wp.mat33),
    size: int,
    grid: wp.array(dtype=wp.int32),
    trivec: wp.array(dtype=wp.float32),
    density: wp.array(dtype=wp.float32),
    features: wp.array(dtype=wp.vec3),
    resolution: int,
    rank: int,
    length: int,
    step: float,
    color_image: wp.array(dtype=wp.float32),
    left_image: wp.array(dtype=wp.float32),
    first: int,
):
    item = first + wp.tid()
    area = size * size
    view = item / area
    pixel = item - view * area
    pose = extrinsics[view]
    lens = intrinsics[view]
    rotation = wp.mat33(
        pose[0, 0], pose[1, 0], pose[2, 0], pose[0, 1], pose[1, 1], pose[2, 1], pose[0, 2], pose[1, 2], pose[2, 2]
    )
    column = (float(pixel % size) + 0.5) / float(size)
    row = (float(pixel / size) + 0.5) / float(size)
    inside = wp.vec3((column - lens[0, 2]) / lens[0, 0], (row - lens[1, 2]) / lens[1, 1], 1.0)
    direction = wp.normalize(rotation * inside)
    origin = -(rotation * wp.vec3(pose[0, 3], pose[1, 3], pose[2, 3]))
    side = 1.0 / float(resolution)
    color = wp.vec3(0.0, 0.0, 0.0)
    transmittance = float(1.0)
    entry = _enter(origin, direction)
    end = float(-1.0)
    sample = int(0)
    if entry < 1.0e29:
        end = _leave(origin, direction, wp.vec3(-0.5, -0.5, -0.5), 1.0)
        sample = int(wp.ceil(entry / step))
    while float(sample) * step < end and transmittance >= 1.0e-3:
        point = origin + direction * (float(sample) * step)
        gx = wp.clamp(int(wp.floor((point[0] + 0.5) * float(resolution))), 0, resolution - 1)
        gy = wp.clamp(int(wp.floor((point[1] + 0.5) * float(resolution))), 0, resolution - 1)
        gz = wp.clamp(int(wp.floor((point[2] + 0.5) * float(resolution))), 0, resolution - 1)
        low = wp.vec3(float(gx) * side - 0.5, float(gy) * side - 0.5, float(gz) * side - 0.5)
        voxel = grid[(gx * resolution + gy) * resolution + gz]
        if voxel < 0:
            sample = wp.max(sample + 1, int(wp.ceil(_leave(origin, direction, low, side) / step)))
        else:
            at = (point - low) * (float(length) / side) - wp.vec3(0.5, 0.5, 0.5)
            found = _evaluate(at, voxel, trivec, density, features, rank, length)
            alpha = wp.min(1.0 - wp.exp(-_softplus(found[3]) * step), 0.999)
            share = alpha * transmittance
            for channel in range(3):
                color[channel] += share / (1.0 + wp.exp(-0.28209479177387814 * found[channel]))
            transmittance *= 1.0 - alpha
            sample += 1
    for channel in range(3):
        color_image[(3 * view + channel) * area + pixel] = color[channel]
    left_image[view * area + pixel] = transmittance


def integrate_voxels(field: VoxelField, cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """(color [V, 3, size, size], transmittance [V, size, size]); see `ops.rasterize.integrate_voxels`."""
    device, views, side = field.trivec.device, len(cameras), field.resolution
    grid = torch.full((side**3,), -1, dtype=torch.int32, device=device)
    x, y, z = field.coords.unbind(1)
    grid[(x * side + y) * side + z] = torch.arange(len(field.positions), dtype=torch.int32, device=device)
    color = torch.empty(views, 3, size, size, device=device)
    transmittance = torch.empty(views, size, size, device=device)
    rank, _, length = field.trivec.shape[1:]
    inputs = [
        cameras.extrinsics, cameras.intrinsics, size, grid, field.trivec, field.density, field.features_dc, side, rank,
        length, field.step, color, transmittance,
    ]  # fmt: skip
    warp_device.launch_items(_march, views * size * size, inputs, device=device, grain=1 << 11)
    return color, transmittance
