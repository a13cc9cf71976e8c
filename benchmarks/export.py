"""Times of the export: `python -m benchmarks.export --device cuda --output DIR` (or cpu, with --resolution 16).

Every row is one step of making a GLB from a mesh of 1.08 M faces and 20 k voxels x 32 Gaussians (the default scene),
called as the program calls it: one warm-up, then the median of the repeats. Printed: seconds, the ratio to the
published exporter's (measured on one H200 with a 16-core host), the target, and the peaks of torch's GPU memory and of
the memory of the process with its children. The same goes to export.json.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.atlas_quality import measure_atlas
from benchmarks.export_scene import Scene, build_scene
from benchmarks.measures import timed, tree_bytes
from trellis.atomic import write_bytes
from trellis.export.bake import dilated, mesh_colors, surface_texels, unwrapped_mesh
from trellis.export.chain import ExportChain, FileSources
from trellis.export.clean import clean
from trellis.export.glb import glb_bytes
from trellis.export.options import FileOptions
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.export.simplify import simplify
from trellis.export.surface import Surface
from trellis.export.unwrap import Unwrapped, unwrap
from trellis.progress import Progress
from trellis.rendering.turntable import TurntableConfig, turntable
from trellis.representations import Mesh
from trellis.runtime import Runtime, device_name, peak_allocated_bytes, reset_peak_memory

KEPT = 0.05  # of the faces, as published
FULL = {"resolution": 64, "views": 100, "view_size": 1024, "texture": 1024, "frames": 120, "frame_size": 512}
# Seconds of the published exporter on one H200 (None: not measured), and ours to reach.
GOALS: dict[str, tuple[float | None, float]] = {
    "decimate": (1.3, 1.0),
    "clean": (None, 1.0),
    "unwrap": (8.0, 3.0),
    "texture": (7.3, 1.5),
    "preview gaussians": (0.56, 0.5),
    "preview normals": (0.58, 0.5),
    "export": (17.0, 7.0),
}
EXTRA = ("unwrap all faces",)  # by request: ultra quality keeps every face
SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Row:
    """One measured step; ratio and reached compare with the published time and the target, for the full scene alone."""

    name: str
    runs: tuple[float, ...]  # seconds
    first: float  # seconds of the warm-up: kernels are loaded or compiled there
    published: float | None
    target: float | None
    gpu_peak_mib: float | None  # allocated by torch, what the scene takes included
    process_peak_mib: float  # resident, children included
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return statistics.median(self.runs)

    @property
    def ratio(self) -> float | None:
        return None if self.published is None else self.seconds / self.published

    def as_dict(self) -> dict[str, Any]:
        reached = None if self.target is None else self.seconds <= self.target
        return asdict(self) | {"seconds": self.seconds, "ratio": self.ratio, "reached": reached}


class ProcessMemory:
    """The most memory [bytes] that this process and its children held while the body ran."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()

    @contextmanager
    def watched(self) -> Iterator["ProcessMemory"]:
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            self._stop.set()
            watcher.join()

    def _watch(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(SAMPLE_SECONDS)
            self.peak = max(self.peak, tree_bytes(os.getpid()))


class Bench:
    """Measures the steps on one scene; the result of a step is the input of the next."""

    def __init__(self, options: argparse.Namespace, scene: Scene, device: torch.device) -> None:
        self.options, self.scene, self.device = options, scene, device
        self.full = all(getattr(options, name) == value for name, value in FULL.items())
        self.rows: list[Row] = []
        self._light: Mesh | None = None
        self._unwrapped: Unwrapped | None = None

    def measure(self, name: str, work: Callable[[], Any], facts: Callable[[Any], dict[str, Any]]) -> Any:
        """Run `work` once to warm up and then `repeats` times; returns what it returned last."""
        first, result = timed(work, self.device)
        reset_peak_memory(self.device)
        runs = []
        with ProcessMemory().watched() as memory:
            for _ in range(self.options.repeats):
                seconds, result = timed(work, self.device)
                runs.append(seconds)
        gpu = peak_allocated_bytes(self.device) / 2**20 if self.device.type != "cpu" else None
        process = memory.peak / 2**20
        published, target = GOALS.get(name, (None, None)) if self.full else (None, None)
        self.rows.append(Row(name, tuple(runs), first, published, target, gpu, process, facts(result)))
        print(describe(self.rows[-1]), flush=True)
        return result

    def run(self, names: Sequence[str]) -> None:
        """Measure the steps called `names`, in their order."""
        mesh = self.scene.mesh
        for name in names:
            if name == "decimate":
                self._light = self.measure(name, self.decimate, faces_of)
            elif name == "clean":
                self.measure(name, lambda: clean(mesh), faces_of)
            elif name == "unwrap":
                self._unwrapped = self.unwrap(name, self.light())
            elif name == "unwrap all faces":
                self.unwrap(name, mesh)
            elif name == "texture":
                unwrapped = self._unwrapped or unwrap(Surface.from_mesh(self.light()), self.options.texture)
                self.measure(name, partial(self.texture, unwrapped), lambda image: {"texture": list(image.shape)})
            elif name.startswith("preview "):
                side = name.removeprefix("preview ")
                self.measure(name, partial(self.preview, side), lambda count: {"frames": count})
            elif name == "export":
                self.measure(name, self.export, lambda data: {"bytes": len(data)})

    def decimate(self) -> Mesh:
        return simplify(self.scene.mesh, ratio=1 - KEPT)

    def light(self) -> Mesh:
        """The decimated mesh, made once."""
        if self._light is None:
            self._light = self.decimate()
        return self._light

    def unwrap(self, name: str, mesh: Mesh) -> Unwrapped:
        surface, size = Surface.from_mesh(mesh), self.options.texture

        def facts(result: Unwrapped) -> dict[str, Any]:
            return {"faces": len(surface.faces)} | asdict(measure_atlas(result, device=self.device))

        return self.measure(name, lambda: unwrap(surface, size), facts)

    @property
    def views(self) -> ViewOptions:
        return ViewOptions(count=self.options.views, size=self.options.view_size)

    def texture(self, unwrapped: Unwrapped) -> torch.Tensor:
        """Views of the Gaussians, projected onto the texture, as the export does in its fast mode."""
        texels = surface_texels(unwrapped, self.options.texture, device=self.device)
        colors = gaussian_colors(
            texels,
            self.scene.gaussians,
            unwrapped_mesh(unwrapped, self.device),
            options=self.views,
            fallback=partial(mesh_colors, mesh=self.scene.mesh),
            progress=Progress(),
        )
        return dilated(texels, colors)

    def preview(self, side: str) -> int:
        config = TurntableConfig(sides=(side,), size=self.options.frame_size, frames=self.options.frames)
        return sum(1 for _ in turntable(gaussians=self.scene.gaussians, mesh=self.scene.mesh, config=config))

    def export(self) -> bytes:
        """From the mesh as decoded to the bytes of a GLB file."""
        options = FileOptions(simplify=1 - KEPT, texture_size=self.options.texture)
        return glb_bytes(
            ExportChain(FileSources(self.scene.gaussians, self.scene.mesh), options, views=self.views).textured
        )


def faces_of(mesh: Mesh) -> dict[str, Any]:
    return {"faces": len(mesh.faces)}


HEADER = (
    f"{'step':22} {'seconds':>8} {'first':>7} {'published':>9} {'ratio':>6} {'target':>6} {'':7} {'GPU':>6} {'RSS':>6}"
)


def describe(row: Row) -> str:
    """One line of the table; memory in MiB."""

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    verdict = "" if row.target is None else ("reached" if row.seconds <= row.target else "missed")
    facts = " ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.facts.items()
    )
    return (
        f"{row.name:22} {row.seconds:8.3f} {row.first:7.2f} {shown(row.published, '.2f'):>9} "
        f"{shown(row.ratio, '.2f'):>6} {shown(row.target, '.1f'):>6} {verdict:7} "
        f"{shown(row.gpu_peak_mib, '.0f'):>6} {shown(row.process_peak_mib, '.0f'):>6}  {facts}"
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--device", default="auto", help="torch device: auto, cpu, cuda ...")
    parser.add_argument("--output", type=Path, required=True, help="folder for export.json")
    parser.add_argument("--rows", nargs="+", choices=(*GOALS, *EXTRA), default=list(GOALS))
    parser.add_argument("--repeats", type=int, default=5, help="measured runs after the warm-up; the median counts")
    for name, value in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    device = Runtime.detect(device=options.device).device
    scene = build_scene(options.resolution, device=device)
    sizes = {"faces": len(scene.mesh.faces), "voxels": scene.voxels, "gaussians": len(scene.gaussians)}
    print(f"{device_name(device)}; {sizes['faces']} faces, {sizes['voxels']} voxels, {sizes['gaussians']} Gaussians")
    print(HEADER)
    bench = Bench(options, scene, device)
    bench.run(options.rows)
    result = {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "scene": sizes,
        "settings": {name: getattr(options, name) for name in (*FULL, "repeats")},
        "rows": [row.as_dict() for row in bench.rows],
    }
    path = write_bytes(options.output / "export.json", json.dumps(result, indent=1).encode())
    print(f"Written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
