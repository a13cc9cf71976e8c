"""Gaussian splatting in Warp: splat by splat on the CPU, pixels over sorted tile lists on a GPU; one blending rule."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type"

# Warp takes a bare number for a constant; float(x) and int(x) declare a variable.
# ruff: noqa: UP018

import torch
import warp as wp
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.ops import warp_device
from trellis.ops.rasterize.scenes import TILE, Gaussians
from trellis.ops.rasterize.warp_projection import ProjectedGaussians, project_gaussians

# Gaussians times cameras projected at once on a GPU (52 bytes each), and entries of tile lists sorted at once (about 60
# bytes each): enough to fill the largest GPUs, little enough for small ones.
PAIR_BUDGET = 3 << 20
ENTRY_BUDGET = 1 << 24

wp.set_module_options({"enable_backward": False})


@wp.kernel
def _splat_rows(
    order: wp.array(dtype=wp.int64),
    shapes: wp.array(dtype=wp.vec4),
    rests: wp.array(dtype=wp.vec4),
    boxes: wp.array(dtype=wp.vec4i),
    colors: wp.array(dtype=wp.vec3),
    width: int,
    image: wp.array(dtype=wp.vec4),
    first_row: int,
    end_row: int,
):
    i = int(order[wp.tid()])
    box = boxes[i]
    top = wp.max(box[1], first_row)
    bottom = wp.min(box[3], end_row)
    if top >= bottom:
        return
    shape = shapes[i]
    rest = rests[i]
    color = colors[i]
    xx = shape[2]
    bend = wp.exp(-xx)
    for y in range(top, bottom):
        # Pixels of this row inside the ellipse where the exponent is the cutoff: a quadratic in x.
        dy = shape[1] - float(y)
        half = shape[3] * dy
        tail = rest[0] * dy * dy
        root = half * half - xx * (tail + 2.0 * rest[2])
        if root >= 0.0:
            reach = wp.sqrt(root)
            left = shape[0] + (half - reach) / xx
            right = shape[0] + (half + reach) / xx
            x = int(wp.max(box[0], int(wp.ceil(wp.max(left, -1.0) - 0.01))))
            end = wp.min(box[2], int(wp.floor(wp.min(right, float(width)) + 0.01)) + 1)
            while x < end:
                # The exponent is quadratic in x, so that neighbours differ by a factor that itself changes by one:
                # two products a pixel instead of an exponential, begun anew before rounding adds up.
                stop = wp.min(x + 16, end)
                dx = shape[0] - float(x)
                level = rest[1] * wp.exp(-0.5 * (xx * dx * dx + tail) - half * dx)
                ratio = wp.exp(xx * (dx - 0.5) + half)
                for column in range(x, stop):
                    state = image[y * width + column]
                    if state[3] > 0.0:
                        alpha = wp.min(level, 0.99)
                        if alpha >= 1.0 / 255.0:
                            remains = state[3] * (1.0 - alpha)
                            weight = alpha * state[3]
                            if remains < 1.0e-4:
                                remains = -state[3]  # a finished pixel has its transmittance negated
                                weight = 0.0
                            image[y * width + column] = wp.vec4(
                                state[0] + weight * color[0],
                                state[1] + weight * color[1],
                                state[2] + weight * color[2],
                                remains,
                            )
                    level = level * ratio
                    ratio = ratio * bend
                x = stop


@wp.kernel
def _list_tiles(
    rests: wp.array(dtype=wp.vec4),
    boxes: wp.array(dtype=wp.vec4i),
    touched: wp.array(dtype=wp.int32),
    ends: wp.array(dtype=wp.int64),
    count: int,
    tiles: int,
    keys: wp.array(dtype=wp.int64),
    owners: wp.array(dtype=wp.int32),
):
    item = wp.tid()
    number = touched[item]
    if number == 0:
        return
    box = boxes[item]
    first = (item / count) * tiles * tiles
    # Camera z is positive: its bits have its order.
    depth = wp.int64(wp.cast(rests[item][3], wp.int32))
    at = ends[item] - wp.int64(number)
    for row in range(box[1] / 16, (box[3] + 15) / 16):
        for column in range(box[0] / 16, (box[2] + 15) / 16):
            tile = wp.int64(first + row * tiles + column)
            keys[at] = tile * wp.int64(4294967296) + depth
            owners[at] = item
            at += wp.int64(1)


@wp.kernel
def _blend_tiles(
    shapes: wp.array(dtype=wp.vec4),
    rests: wp.array(dtype=wp.vec4),
    colors: wp.array(dtype=wp.vec3),
    owners: wp.array(dtype=wp.int32),
    begins: wp.array(dtype=wp.int64),
    count: int,
    tiles: int,
    width: int,
    color: wp.array(dtype=wp.float32),
    transmittance: wp.array(dtype=wp.float32),
):
    item = wp.tid()
    tile = item / 256
    inner = item - tile * 256
    view = tile / (tiles * tiles)
    place = tile - view * tiles * tiles
    x = (place % tiles) * 16 + inner % 16
    y = (place / tiles) * 16 + inner / 16
    if x >= width or y >= width:
        return
    red = float(0.0)
    green = float(0.0)
    blue = float(0.0)
    left = float(1.0)
    at = begins[tile]
    end = begins[tile + 1]
    while at < end:
        owner = owners[at]
        shape = shapes[owner]
        rest = rests[owner]
        dx = shape[0] - float(x)
        dy = shape[1] - float(y)
        power = -0.5 * (shape[2] * dx * dx + rest[0] * dy * dy) - shape[3] * dx * dy
        if power <= 0.0 and power >= rest[2]:
            alpha = wp.min(rest[1] * wp.exp(power), 0.99)
            if alpha >= 1.0 / 255.0:
                remains = left * (1.0 - alpha)
                if remains < 1.0e-4:
                    end = at
                else:
                    tint = colors[owner - view * count]
                    weight = alpha * left
                    red += weight * tint[0]
                    green += weight * tint[1]
                    blue += weight * tint[2]
                    left = remains
        at += wp.int64(1)
    area = width * width
    pixel = y * width + x
    color[3 * view * area + pixel] = red
    color[(3 * view + 1) * area + pixel] = green
    color[(3 * view + 2) * area + pixel] = blue
    transmittance[view * area + pixel] = left


def splat_gaussians(
    cloud: Gaussians, cameras: Cameras, *, size: int, by_tiles: bool | None = None
) -> tuple[Tensor, Tensor]:
    """(color [V, 3, size, size], transmittance [V, size, size]); see `ops.rasterize.splat_gaussians`.

    by_tiles: one thread a pixel over depth-sorted lists of the 16 x 16 tiles, many cameras at once (the GPU's way),
    instead of one splat after the other in depth order within bands of rows (the CPU's, whose launches run in order);
    by default chosen by the device.
    """
    device, views = cloud.positions.device, len(cameras)
    colors = cloud.colors.clamp(min=0)
    if by_tiles is None:
        by_tiles = device.type != "cpu"
    if not by_tiles and device.type != "cpu":
        raise ValueError("Splats in depth order need launches that run in order, which only the CPU gives.")
    color = torch.empty(views, 3, size, size, device=device)
    transmittance = torch.empty(views, size, size, device=device)
    at_once = max(1, PAIR_BUDGET // max(len(cloud), 1)) if by_tiles else 1
    for begin in range(0, views, at_once):
        chunk = slice(begin, begin + at_once)
        projected = project_gaussians(cloud, cameras[chunk], size=size)
        if by_tiles:
            _draw_tiles(projected, colors, color[chunk], transmittance[chunk])
        else:
            _draw_splats(projected, colors, color[begin], transmittance[begin])
    return color, transmittance


def _draw_splats(projected: ProjectedGaussians, colors: Tensor, color: Tensor, transmittance: Tensor) -> None:
    """Fill color [3, size, size] and transmittance [size, size] of the only camera."""
    size, device = color.shape[-1], color.device
    seen = projected.touched[0].nonzero().squeeze(1)
    order = seen[torch.argsort(projected.rests[0, :, 3][seen], stable=True)]
    image = torch.tensor([0.0, 0.0, 0.0, 1.0], device=device).repeat(size * size, 1)
    inputs = [order, projected.shapes[0], projected.rests[0], projected.boxes[0], colors, size, image]
    warp_device.launch_rows(_splat_rows, len(order), inputs, rows=size, device=device)
    color.copy_(image[:, :3].T.reshape(3, size, size))
    transmittance.copy_(image[:, 3].abs().view(size, size))


def _draw_tiles(projected: ProjectedGaussians, colors: Tensor, color: Tensor, transmittance: Tensor) -> None:
    """Fill color [V, 3, size, size] and transmittance [V, size, size] from sorted tile lists."""
    views, count = projected.touched.shape
    size = color.shape[-1]
    tiles = -(-size // TILE)
    ends = projected.touched.view(-1).cumsum(0)
    total = int(ends[-1]) if count else 0  # the one wait for the device
    if total > ENTRY_BUDGET and views > 1:
        for view in range(views):
            alone = ProjectedGaussians(**{name: part[view : view + 1] for name, part in vars(projected).items()})
            _draw_tiles(alone, colors, color[view : view + 1], transmittance[view : view + 1])
        return
    owners, begins = _tile_lists(projected, ends, total, tiles)
    inputs = [projected.shapes, projected.rests, colors, owners, begins, count, tiles, size, color, transmittance]
    warp_device.launch(_blend_tiles, views * tiles * tiles * TILE * TILE, inputs, device=color.device)


def _tile_lists(projected: ProjectedGaussians, ends: Tensor, total: int, tiles: int) -> tuple[Tensor, Tensor]:
    """Per tile of every camera the Gaussians that touch it, front to back, in the cloud's order at equal depth.

    Returns owners [total] int32 (camera * n + Gaussian) and begins [V tiles^2 + 1] int64: tile t of camera v owns
    owners[begins[j] : begins[j + 1]] with j = v tiles^2 + t.
    """
    views, count = projected.touched.shape
    device = ends.device
    keys = torch.empty(total, dtype=torch.int64, device=device)
    owners = torch.empty(total, dtype=torch.int32, device=device)
    inputs = [projected.rests, projected.boxes, projected.touched, ends, count, tiles, keys, owners]
    warp_device.launch(_list_tiles, views * count, inputs, device=device)
    keys, order = torch.sort(keys, stable=True)
    firsts = torch.arange(views * tiles * tiles + 1, device=device) << 32
    return owners[order], torch.searchsorted(keys, firsts)
