"""Time of every way to convolve the voxels of the released networks: `python -m benchmarks.sparse_conv`.

Prints milliseconds, TFLOP/s counted as if every voxel had 27 neighbours, work space beside the result, the error
against float32, and what a first call costs: torch's gather, each tile of the Triton kernel, and spconv.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.released import SCALES, make_scene
from trellis.atomic import write_bytes
from trellis.errors import TrellisError
from trellis.ops.sparse_conv import choice, gather, spconv_adapter
from trellis.runtime import Runtime, allocated_bytes, device_name, peak_allocated_bytes, reset_peak_memory, synchronize
from trellis.sparse import VoxelLayout, coarser, subdivided, upsampled_neighbours

REPEATS = 10
NARROWER = 16  # times, in the tiny scale


@dataclass(frozen=True)
class Layer:
    """A convolution from `width` to `out_width` channels on the voxels of a level: 0 is the latent grid, 64^3.

    groups: 1, or 8 for a convolution of subdivided voxels; summed: products of the coarser voxels are summed instead.
    """

    level: int
    width: int
    out_width: int
    groups: int = 1
    summed: bool = False

    @property
    def taps(self) -> tuple[int, int, int, int]:
        return self.groups, self.out_width, 27 if self.groups == 1 else 8, self.width


LAYERS = {
    "flow, fine": Layer(0, 128, 128),
    "flow, widening": Layer(-1, 128, 1024),
    "flow, coarse": Layer(-1, 1024, 1024),
    "flow, upsampling": Layer(0, 27 * 128, 128, summed=True),
    "mesh, first to 128^3": Layer(0, 768, 192, groups=8),
    "mesh, second at 128^3": Layer(1, 192, 192),
    "mesh, first to 256^3": Layer(1, 192, 96, groups=8),
    "mesh, second at 256^3": Layer(2, 96, 96),
}


def layout_of(voxels: Tensor, level: int) -> VoxelLayout:
    layout = VoxelLayout.create(voxels, resolution=64)
    for _ in range(level):
        layout = subdivided(layout)
    return coarser(layout).layout if level < 0 else layout


def ways_to_convolve(layer: Layer, layout: VoxelLayout, runtime: Runtime) -> dict[str, partial[Tensor]]:
    """Every way by name; "exact" is the gather in float32."""
    device, dtype = runtime.device, runtime.dtype
    generator = torch.Generator().manual_seed(0)
    table, rows = layout.neighbours, len(layout)
    exact = [torch.randn(n, generator=generator).to(device) for n in ((rows, layer.width), layer.taps, layer.out_width)]
    exact[1] /= (layer.taps[2] * layer.width) ** 0.5
    feats, taps, bias = (tensor.to(dtype) for tensor in exact)
    columns = gather.ALL if layer.groups == 1 else gather.CORNERS

    def gathered(feats: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        return gather.apply(feats, taps, bias=bias, table=table, columns=columns)

    def tiled(convolve: choice.Kernel, tile: choice.Tile) -> Tensor:
        out = feats.new_empty(rows, layer.groups * layer.out_width)
        convolve(feats, taps, bias=bias, table=table, out=out, tile=tile)
        return out

    ways = {"exact": partial(gathered, *exact), "builtin": partial(gathered, feats, taps, bias)}
    kernels = choice.kernels_on(device)
    if kernels is not None and dtype in choice.HALF:
        for tile in choice.tiles_for(layer.width, layer.out_width):
            ways[f"triton {tile.rows}x{tile.columns}x{tile.depth}"] = partial(tiled, kernels.convolve, tile)
    if layer.groups == 1 and device.type != "cpu":
        weight = taps.view(layer.out_width, 3, 3, 3, layer.width)
        options = {"coords": layout.coords, "resolution": layout.resolution, "batch_size": 1, "indices": {}}
        ways["spconv"] = partial(spconv_adapter.convolve, feats, weight, bias=bias, **options)
    return ways


def ways_to_sum(layer: Layer, layout: VoxelLayout, runtime: Runtime) -> dict[str, partial[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    table = upsampled_neighbours(layout)
    exact = torch.randn(len(coarser(layout).layout), layer.width, generator=generator).to(runtime.device)
    products, bias = exact.to(runtime.dtype), torch.zeros(layer.out_width, device=runtime.device)
    ways = {
        "exact": partial(gather.sum_products, exact, table, bias=bias),
        "builtin": partial(gather.sum_products, products, table, bias=bias),
    }
    kernel = choice.sum_kernel_for(products, backend="triton")
    if kernel is not None:
        ways["triton"] = partial(kernel, products, table, bias=bias)
    return ways


def seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def measure(run: Callable[[], Tensor], exact: Tensor, device: torch.device) -> dict[str, Any]:
    """Seconds of `REPEATS` calls and of the first, bytes beside the result, error relative to the largest value."""
    first = seconds(run, device)
    reset_peak_memory(device)
    before = allocated_bytes(device)
    out = run()
    space = peak_allocated_bytes(device) - before - out.numel() * out.element_size()
    error = float((out.float() - exact).abs().max() / exact.abs().max())
    times = [seconds(run, device) for _ in range(REPEATS)]
    return {"seconds": times, "first": first, "work_space": max(0, space), "error": error}


@torch.no_grad()
def measure_layer(name: str, layer: Layer, layout: VoxelLayout, runtime: Runtime) -> list[dict[str, Any]]:
    """One row for every way that works here."""
    ways = (ways_to_sum if layer.summed else ways_to_convolve)(layer, layout, runtime)
    exact = ways.pop("exact")()
    rows = []
    for way, run in ways.items():
        try:
            found = measure(run, exact, runtime.device)
        except (TrellisError, RuntimeError, ImportError) as error:  # not installed; no room for a tile on this card
            print(f"{name:22} {way:18} {str(error).splitlines()[0]}", flush=True)
            continue
        median = statistics.median(found["seconds"])
        work = 2 * len(layout) * layer.groups * layer.taps[2] * layer.width * layer.out_width
        speed = "" if layer.summed else f"{work / median / 1e12:7.1f} TFLOP/s"
        print(
            f"{name:22} {way:18} {median * 1e3:8.3f} ms {speed:15}  work space {found['work_space'] / 2**20:6.1f} MiB"
            f"  first call {found['first'] * 1e3:8.1f} ms  error {found['error']:.1e}",
            flush=True,
        )
        rows.append({"layer": name, "voxels": len(layout), "way": way, **found})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse_conv", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--scale", choices=SCALES, default="released")
    parser.add_argument("--output", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    runtime = Runtime.detect(device=options.device, precision=options.precision)
    print(f"{options.precision} on {device_name(runtime.device)}, median of {REPEATS}")
    voxels = make_scene(scale=options.scale, device=runtime.device).voxels
    narrower = NARROWER if options.scale == "tiny" else 1
    rows = []
    for name, layer in LAYERS.items():
        small = Layer(layer.level, layer.width // narrower, layer.out_width // narrower, layer.groups, layer.summed)
        rows += measure_layer(name, small, layout_of(voxels, layer.level), runtime)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        record = {"device": device_name(runtime.device), "precision": options.precision, "rows": rows}
        write_bytes(options.output / "sparse_conv.json", (json.dumps(record, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
