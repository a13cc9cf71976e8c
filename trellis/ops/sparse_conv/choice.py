"""How a sparse convolution is computed here: by torch's gather, or by the Triton kernel with one of its tiles.

The kernel is for half precision. Where there are no gradients, which way is the fastest is measured once for the widths
of a layer, then remembered.
"""

import logging
import math
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.ops.checked_kernels import checked_kernels
from trellis.ops.fastest import seconds_of_agreeing, shell_of_voxels
from trellis.ops.neighbours import neighbour_table
from trellis.ops.sparse_conv import gather
from trellis.runtime import SPARSE_CONV_BACKENDS

HALF = (torch.float16, torch.bfloat16)
GATHERED = 1 << 25  # elements that torch's way gathers when it is measured
LARGEST_SIDE = 80  # of the grid that is measured on
_AGREEMENT = 4e-3  # of the largest value: two roundings to float16

logger = logging.getLogger(__name__)
Kernel = Callable[..., None]  # of (feats, taps, bias=, table=, out=, none=), see `triton_kernels.convolve`
SumKernel = Callable[..., Tensor]


class Tile(NamedTuple):
    """What one program computes: rows x columns of the output, `depth` channels at a time, in a pipeline of stages."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


# Few, since each takes about a second to compile, once a machine. Neighbours are read two stages before their
# features, so features wait in (stages + 1) / 2 buffers: 97, 145 and 66 KiB of shared memory.
TILES = (Tile(128, 128, 64, 8, 5), Tile(128, 256, 64, 8, 5), Tile(128, 128, 32, 8, 7))


def require() -> None:
    """Raise MissingDependencyError, saying what to do, if Triton is not installed."""
    if find_spec("triton") is None:
        raise MissingDependencyError("The sparse convolution back end triton is not installed; use builtin.")


def kernel_for(feats: Tensor, taps: Tensor, *, backend: str | None) -> Kernel | None:
    """The kernel for these features [N, I] and taps [G, O, K, I]; None: torch's gather.

    backend: "triton": the kernel wherever it can be used; None: the fastest way; another one: the gather.
    Raises InvalidInputError for an unknown back end.
    """
    kernels = _kernels(feats, backend)
    if kernels is None:
        return None
    seconds = _seconds(feats.device, feats.dtype, tuple(taps.shape))
    ways = [way for way in seconds if way is not None or backend is None]
    tile = min(ways, key=lambda way: seconds[way], default=None)
    return None if tile is None else partial(kernels.convolve, tile=tile)


def trained_kernels(feats: Tensor, taps: Tensor, *, backend: str | None) -> ModuleType | None:
    """The kernels for features and taps that learn, where they can be used: they write no gathered neighbours."""
    if backend not in (None, "triton") or feats.dtype not in HALF or len(taps) > 1 or not torch.is_grad_enabled():
        return None
    return kernels_on(feats.device)


def sum_kernel_for(products: Tensor, *, backend: str | None) -> SumKernel | None:
    """The kernel that sums products, wherever it can be used: it moves a third of the memory that the gather moves."""
    kernels = _kernels(products, backend)
    return None if kernels is None else kernels.sum_products


def _kernels(feats: Tensor, backend: str | None) -> ModuleType | None:
    if backend is not None and backend not in SPARSE_CONV_BACKENDS:
        known = ", ".join(SPARSE_CONV_BACKENDS)
        raise InvalidInputError(f"Unknown sparse convolution back end {backend!r}; choose one of {known}.")
    if backend not in (None, "triton") or torch.is_grad_enabled() or feats.dtype not in HALF:
        return None
    return kernels_on(feats.device)


@cache
def kernels_on(device: torch.device) -> ModuleType | None:
    """The module of the kernels, if this device runs them and they agree with torch."""
    return checked_kernels(
        "trellis.ops.sparse_conv.triton_kernels",
        device,
        agrees=lambda kernels: agrees(kernels, device),
        otherwise="sparse convolutions gather their neighbours",
    )


def tiles_for(width: int, out_width: int) -> tuple[Tile, ...]:
    """The tiles worth measuring: whose channels are all there, and of whose columns more than half."""
    fitting = tuple(tile for tile in TILES if width % tile.depth == 0 and tile.columns < 2 * out_width)
    return fitting or TILES[-1:]


@cache
def _seconds(device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int, int]) -> dict[Tile | None, float]:
    """Time of each way to convolve with taps of this shape that agrees with torch's (None), on a ball's shell."""
    tiles = tiles_for(shape[3], shape[1])
    try:
        return _measure((None, *tiles), device, dtype, shape)
    except torch.OutOfMemoryError as error:
        logger.info("sparse convolutions do not gather, which cannot even be measured: %s", error)
        return {tiles[0]: 0.0}


@torch.no_grad()
def _measure(
    ways: tuple[Tile | None, ...], device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int, int]
) -> dict[Tile | None, float]:
    kernels = kernels_on(device)
    assert kernels is not None
    groups, out_width, count, width = shape
    rows = GATHERED // (count * width)
    side = max(8, min(math.isqrt(rows // 4), LARGEST_SIDE))  # a shell of about 4 side^2 voxels
    coords = shell_of_voxels(side, device)
    table = neighbour_table(coords, (len(coords),), resolution=side)
    generator = torch.Generator(device).manual_seed(0)
    feats, taps, bias = (
        torch.randn(size, generator=generator, device=device, dtype=dtype)
        for size in ((len(coords), width), shape, (out_width,))
    )
    taps /= (count * width) ** 0.5
    columns = gather.ALL if groups == 1 else gather.CORNERS

    def run(tile: Tile | None) -> Tensor:
        if tile is None:
            return gather.apply(feats, taps, bias=bias, table=table, columns=columns)
        out = feats.new_empty(len(feats), groups * out_width)
        kernels.convolve(feats, taps, bias=bias, table=table, out=out, tile=tile)
        return out

    return seconds_of_agreeing(run, ways, device, question=f"sparse convolution with taps {list(shape)}, {dtype}")


@torch.no_grad()
def agrees(kernels: ModuleType, device: torch.device) -> bool:
    """Whether the kernels give torch's values and write nowhere else, with rows and taps that have no neighbour.

    Widths are no multiples of the tile's, but of 16 as those of the layers: nothing is compiled for this alone.
    """
    rows, width, out_width, summed = 140, 48, 144, 112
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(0, rows + 1, (rows, 27), dtype=torch.int32, generator=generator)
    table[: TILES[-1].rows, 2:25] = rows
    table[-1] = rows
    table = table.to(device)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device, torch.float16)

    feats, bias = draw(rows, width), draw(out_width)
    for columns in (gather.ALL, gather.CORNERS):
        taps = draw(len(columns), out_width, len(columns[0]), width)
        expected = gather.apply(feats, taps, bias=bias, table=table, columns=columns)
        out = expected.new_zeros(rows + 1, expected.shape[1])
        kernels.convolve(feats, taps, bias=bias, table=table, out=out[:-1], tile=TILES[-1])
        if not _close(out[:-1], expected) or bool(out[-1].any()):
            return False
    grad = draw(rows, out_width)
    expected = gather.tap_gradients(feats, grad, (1, out_width, 27, width), table, gather.ALL)
    if not _close(kernels.tap_gradients(feats, grad, table), expected):
        return False
    products, bias = draw(rows, 27 * summed), draw(summed)
    expected = gather.sum_products(products, table, bias=bias)
    return _close(kernels.sum_products(products, table, bias=bias), expected)


def _close(got: Tensor, expected: Tensor) -> bool:
    return bool(((got - expected).abs().max() <= _AGREEMENT * expected.abs().max()).item())
