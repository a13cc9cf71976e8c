"""Gaussian compositing in Warp: by splats on the CPU, by pixels over tile lists on a GPU; same blending rule."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type"

from typing import TYPE_CHECKING

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device

if TYPE_CHECKING:
    from trellis.ops.rasterize.gaussians import ScreenGaussians

TILE = 16

wp.set_module_options({"enable_backward": False})


@wp.func
def _blend(
    state: wp.vec4, mean: wp.vec2, conic: wp.vec3, opacity: float, cutoff: float, color: wp.vec3, x: int, y: int
) -> wp.vec4:
    """Add one Gaussian to a pixel's (r, g, b, transmittance); a finished pixel has its transmittance negated."""
    dx = mean[0] - float(x)
    dy = mean[1] - float(y)
    power = -0.5 * (conic[0] * dx * dx + conic[2] * dy * dy) - conic[1] * dx * dy
    if power > 0.0 or power < cutoff:
        return state
    alpha = wp.min(opacity * wp.exp(power), 0.99)
    if alpha < 1.0 / 255.0:
        return state
    left = state[3] * (1.0 - alpha)
    if left < 1.0e-4:
        return wp.vec4(state[0], state[1], state[2], -state[3])
    weight = alpha * state[3]
    return wp.vec4(state[0] + weight * color[0], state[1] + weight * color[1], state[2] + weight * color[2], left)


@wp.func
def _cutoff(opacity: float) -> float:
    """Exponent below which alpha is certain to be under 1/255, with a margin for rounding."""
    return -wp.log(255.0 * opacity) - 1.0e-3


@wp.kernel
def _splat_rows(
    means: wp.array(dtype=wp.vec2),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=wp.float32),
    colors: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    width: int,
    first_row: int,
    end_row: int,
    image: wp.array(dtype=wp.vec4),
):
    i = wp.tid()
    box = boxes[i]
    top = wp.max(box[1], first_row)
    bottom = wp.min(box[3], end_row)
    if top >= bottom:
        return
    mean = means[i]
    conic = conics[i]
    opacity = opacities[i]
    cutoff = _cutoff(opacity)
    color = colors[i]
    for y in range(top, bottom):
        # Pixels of this row inside the ellipse where power = cutoff: a quadratic in x.
        dy = mean[1] - float(y)
        half = conic[1] * dy
        root = half * half - conic[0] * (conic[2] * dy * dy + 2.0 * cutoff)
        if root >= 0.0:
            reach = wp.sqrt(root)
            left = mean[0] + (half - reach) / conic[0]
            right = mean[0] + (half + reach) / conic[0]
            begin = wp.max(box[0], int(wp.ceil(wp.max(left, -1.0) - 0.01)))
            end = wp.min(box[2], int(wp.floor(wp.min(right, float(width)) + 0.01)) + 1)
            for x in range(begin, end):
                state = image[y * width + x]
                if state[3] > 0.0:
                    image[y * width + x] = _blend(state, mean, conic, opacity, cutoff, color, x, y)


@wp.kernel
def _blend_tiles(
    means: wp.array(dtype=wp.vec2),
    conics: wp.array(dtype=wp.vec3),
    opacities: wp.array(dtype=wp.float32),
    colors: wp.array(dtype=wp.vec3),
    boxes: wp.array(dtype=wp.vec4i),
    owners: wp.array(dtype=wp.int64),
    begins: wp.array(dtype=wp.int64),
    tiles: int,
    width: int,
    image: wp.array(dtype=wp.vec4),
):
    item = wp.tid()
    tile = item / 256
    x = (tile % tiles) * 16 + item % 16
    y = (tile / tiles) * 16 + (item % 256) / 16
    if x >= width or y >= width:
        return
    state = wp.vec4(0.0, 0.0, 0.0, 1.0)
    at = begins[tile]
    end = begins[tile + 1]
    while at < end and state[3] > 0.0:
        i = int(owners[at])
        box = boxes[i]
        if x >= box[0] and y >= box[1] and x < box[2] and y < box[3]:
            opacity = opacities[i]
            state = _blend(state, means[i], conics[i], opacity, _cutoff(opacity), colors[i], x, y)
        at += wp.int64(1)
    image[y * width + x] = state


def composite_gaussians(
    gaussians: "ScreenGaussians", size: int, *, by_tiles: bool | None = None
) -> tuple[Tensor, Tensor]:
    """(color [3, size, size], transmittance [size, size]); see `ops.rasterize.composite_gaussians`.

    by_tiles: one thread a pixel over depth-sorted lists of the 16 x 16 tiles (the GPU's way) instead of one splat after
    the other in depth order (the CPU's, whose launches run in order); by default chosen by the device.
    """
    device = gaussians.means.device
    if by_tiles is None:
        by_tiles = device.type != "cpu"
    image = torch.tensor([0.0, 0.0, 0.0, 1.0], device=device).repeat(size * size, 1)
    arrays = [
        warp_device.view(gaussians.means, wp.vec2),
        warp_device.view(gaussians.conics, wp.vec3),
        warp_device.view(gaussians.opacities, wp.float32),
        warp_device.view(gaussians.colors, wp.vec3),
        warp_device.view(gaussians.boxes.int(), wp.vec4i),
    ]
    target = warp_device.view(image, wp.vec4)
    if by_tiles:
        tiles = -(-size // TILE)
        owners, begins = tile_lists(gaussians.boxes, tiles)
        lists = [warp_device.view(owners, wp.int64), warp_device.view(begins, wp.int64)]
        warp_device.launch(_blend_tiles, tiles * tiles * 256, [*arrays, *lists, tiles, size, target], device=device)
    else:
        if device.type != "cpu":
            raise ValueError("Splats in depth order need launches that run in order, which only the CPU gives.")
        warp_device.launch(_splat_rows, len(gaussians.means), [*arrays, size, 0, size, target], device=device)
    return image[:, :3].T.reshape(3, size, size), image[:, 3].abs().view(size, size)


def tile_lists(boxes: Tensor, tiles: int) -> tuple[Tensor, Tensor]:
    """Per tile (row-major, `tiles` a side) the Gaussians whose boxes touch it, in their order.

    Returns owners [m] int64 and begins [tiles^2 + 1] int64: tile t owns owners[begins[t] : begins[t + 1]].
    """
    low = torch.div(boxes[:, :2], TILE, rounding_mode="floor")
    high = torch.div(boxes[:, 2:] + TILE - 1, TILE, rounding_mode="floor")
    span = high - low
    counts = span[:, 0] * span[:, 1]
    owner = torch.repeat_interleave(counts)
    offset = torch.arange(len(owner), device=boxes.device) - (counts.cumsum(0) - counts)[owner]
    columns = span[:, 0][owner]
    row = torch.div(offset, columns, rounding_mode="floor")
    tile = (low[:, 1][owner] + row) * tiles + low[:, 0][owner] + offset - row * columns
    # Few tiles fit the shortest integers, which sort fastest.
    tile = tile.to(torch.int16 if tiles * tiles <= torch.iinfo(torch.int16).max else torch.int32)
    tile, order = torch.sort(tile, stable=True)
    begins = torch.searchsorted(tile, torch.arange(tiles * tiles + 1, device=boxes.device, dtype=tile.dtype))
    return owner[order], begins
