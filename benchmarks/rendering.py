"""Times of the renderers: python -m benchmarks.rendering --device cuda --output DIR [--scene large] [--profile].

Draws turntables of assets of a known size, every side for itself and the usual two together, through the same function
as the preview: rendering, conversion to bytes and the copy to the host, no encoding. Prints a table with the ratio to
the published figures (one H200, 20 k voxels x 32 Gaussians, a mesh of 1.08 M faces, 120 frames of 512^2) and writes
rendering.json. Needs torch and Warp, nothing else.
"""

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import warp as wp

from benchmarks import rendering_scenes
from trellis.ops import warp_device
from trellis.ops.rasterize import BACKENDS
from trellis.rendering.turntable import SIDES, TurntableConfig, turntable

# Seconds for 120 frames of 512^2, measured with the published code on one H200, and our target.
PUBLISHED = {"gaussians": 0.56, "normals": 0.58}
TARGET = 0.5


@dataclass(frozen=True)
class Row:
    """One measured turntable; first_seconds holds what only happens once (kernels loaded or compiled)."""

    scene: str
    sides: str
    size: int
    supersampling: int
    frames: int
    seconds: float
    milliseconds_a_frame: float
    first_seconds: float
    published_ratio: float | None
    peak_mib: float | None


@dataclass(frozen=True)
class Textured:
    """A mesh with a texture, as the export hands it over."""

    vertices: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    faces: np.ndarray
    texture: np.ndarray


def build(scene: str, device: torch.device) -> dict:
    """The asset in every representation, by the names of `turntable`'s arguments."""
    size = rendering_scenes.SCENES[scene]
    mesh = rendering_scenes.mesh(size)
    light = rendering_scenes.mesh(
        rendering_scenes.SceneSize(size.resolution, size.voxels, size.gaussians, size.faces // 20)
    )
    normals = torch.nn.functional.normalize(light.vertices, dim=1)
    textured = Textured(
        vertices=light.vertices.numpy(),
        normals=normals.numpy(),
        uvs=(0.5 + 0.49 * normals[:, [0, 2]]).contiguous().numpy(),
        faces=light.faces.numpy(),
        texture=np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8),
    )
    asset = {
        "gaussians": rendering_scenes.gaussian_cloud(size),
        "mesh": mesh,
        "radiance_field": rendering_scenes.radiance_field(size),
    }
    return {name: moved(part, device) for name, part in asset.items()} | {"textured": textured}


def moved(part: object, device: torch.device) -> object:
    """A frozen data class with its tensors on `device`."""
    values = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in vars(part).items()
    }
    return type(part)(**values)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, work: Callable[[], object]) -> float:
    synchronize(device)
    begin = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begin


def draw(asset: dict, config: TurntableConfig) -> int:
    """Draw a whole turn and throw it away; the number of frames."""
    return sum(1 for _ in turntable(**asset, config=config))


def measure(asset: dict, config: TurntableConfig, *, scene: str, device: torch.device, repeats: int) -> Row:
    """First run, then the median of `repeats` turns; peak memory above what the asset itself takes."""
    first = timed(device, lambda: draw(asset, TurntableConfig(**{**asdict(config), "frames": 1})))
    if device.type == "cuda":
        draw(asset, config)  # the allocator has its blocks, the clocks are up
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(timed(device, lambda: draw(asset, config)) for _ in range(repeats))
    peak = None
    if device.type == "cuda":
        peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    sides = "+".join(config.sides)
    comparable = scene == "large" and config.frames == 120 and config.size == 512 and sides in PUBLISHED
    return Row(
        scene=scene,
        sides=sides,
        size=config.size,
        supersampling=config.supersampling,
        frames=config.frames,
        seconds=seconds,
        milliseconds_a_frame=1000 * seconds / config.frames,
        first_seconds=first,
        published_ratio=seconds / PUBLISHED[sides] if comparable else None,
        peak_mib=peak,
    )


@contextmanager
def kernel_times(device: torch.device) -> Iterator[dict[str, list[float]]]:
    """Fill a table: kernel -> [milliseconds in all, launches], of the GPU's activity or of Warp's launches on a CPU."""
    table: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    if device.type == "cuda":
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            yield table
            synchronize(device)
        for event in profile.events():
            if event.device_type == torch.autograd.DeviceType.CUDA:
                table[event.name][0] += event.time_range.elapsed_us() / 1000
                table[event.name][1] += 1
        return
    launch = wp.launch

    def counted(kernel: wp.Kernel, *arguments: Any, **options: Any) -> None:
        begin = time.perf_counter()
        launch(kernel, *arguments, **options)
        table[kernel.key][0] += 1000 * (time.perf_counter() - begin)
        table[kernel.key][1] += 1

    wp.launch = counted
    try:
        yield table
    finally:
        wp.launch = launch


def profile(asset: dict, config: TurntableConfig, device: torch.device) -> dict[str, list[float]]:
    """Times of the kernels of one turn, the longest first, and how long they and the whole turn took."""
    with kernel_times(device) as table:
        seconds = timed(device, lambda: draw(asset, config))
    busy = sum(total for total, _ in table.values())
    print(
        f"\n{'+'.join(config.sides)}: {1000 * seconds:.1f} ms in all, {busy:.1f} ms in kernels, {config.frames} frames"
    )
    ordered = dict(sorted(table.items(), key=lambda item: -item[1][0]))
    for name, (total, count) in list(ordered.items())[:16]:
        print(f"  {total:9.2f} ms {int(count):6d} x  {1000 * total / count:9.1f} us each  {name[:90]}")
    return ordered


def describe(row: Row) -> str:
    ratio = f"{row.published_ratio:.2f}" if row.published_ratio is not None else "-"
    goal = "" if row.published_ratio is None else ("reached" if row.seconds <= TARGET else "missed")
    peak = f"{row.peak_mib:.0f}" if row.peak_mib is not None else "-"
    return (
        f"{row.scene:6} {row.sides:22} {row.size:5} {row.supersampling:3} {row.frames:6} {row.seconds:8.3f} "
        f"{row.milliseconds_a_frame:9.2f} {row.first_seconds:8.2f} {ratio:>9} {goal:8} {peak:>8}"
    )


def configurations(options: argparse.Namespace) -> Iterator[TurntableConfig]:
    common = {"size": options.size, "frames": options.frames, "backend": options.backend}
    for side in options.sides:
        steps = (2, 4) if side == "normals" else (2,)
        for supersampling in steps:
            yield TurntableConfig(sides=(side,), supersampling=supersampling, **common)
    if {"gaussians", "normals"} <= set(options.sides):
        yield TurntableConfig(sides=("gaussians", "normals"), **common)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rendering", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="folder for rendering.json")
    parser.add_argument("--scene", choices=sorted(rendering_scenes.SCENES), default="large")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="also the times of the kernels")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, torch {torch.__version__}, Warp {wp.__version__}, {torch.get_num_threads()} threads")
    warp_device.start()
    asset = build(options.scene, device)
    print("scene  sides                   size  ss frames  seconds  ms/frame    first published target   peak MiB")
    rows, kernels = [], {}
    for config in configurations(options):
        row = measure(asset, config, scene=options.scene, device=device, repeats=options.repeats)
        rows.append(asdict(row))
        print(describe(row), flush=True)
        if options.profile:
            kernels[f"{row.sides} x{row.supersampling}"] = profile(asset, config, device)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        report = {"device": name, "torch": torch.__version__, "rows": rows, "kernels": kernels}
        aside = options.output / "rendering.json.part"
        aside.write_text(json.dumps(report, indent=1), encoding="utf-8")
        aside.replace(options.output / "rendering.json")


if __name__ == "__main__":
    main()
