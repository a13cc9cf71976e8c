"""Shortcuts of sampling on a model: time, and how far results move: `python -m benchmarks.shortcuts PICTURE...`.

Steps are compared too: fewer steps of the exact sampler are the honest rival of every shortcut. Structures are compared
by the overlap of their voxels (IoU), latents on the exact structure by their relative change.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trellis import ImageTo3D
from trellis.atomic import write_bytes
from trellis.progress import Progress
from trellis.runtime import Runtime, device_name, synchronize
from trellis.sampling import Shortcuts

WAYS: dict[str, tuple[int, Shortcuts]] = {
    "25 steps": (25, Shortcuts()),
    "18 steps": (18, Shortcuts()),
    "12 steps": (12, Shortcuts()),
    "8 steps": (8, Shortcuts()),
    "guidance every 2nd": (25, Shortcuts(guidance_every=2)),
    "guidance every 3rd": (25, Shortcuts(guidance_every=3)),
    "guidance from 0.75": (25, Shortcuts(guidance_from=0.75)),
    "velocity every 2nd": (25, Shortcuts(velocity_every=2)),
    "velocity every 3rd": (25, Shortcuts(velocity_every=3)),
    "both every 2nd": (25, Shortcuts(guidance_every=2, velocity_every=2)),
}


@dataclass
class Trial:
    """One picture's condition, and the exact results on it."""

    pipeline: ImageTo3D
    condition: Tensor

    def structure(self, way: str) -> tuple[Tensor, float]:
        steps, shortcuts = WAYS[way]
        sampler = replace(self.pipeline.config.structure_sampler, steps=steps)
        return self._timed(
            lambda: self.pipeline.decode_structure(
                self.pipeline.sample_structure(
                    [self.condition], sampler, torch.Generator().manual_seed(0), "stochastic", Progress(), shortcuts
                )
            )
        )

    def latent(self, way: str, voxels: Tensor) -> tuple[Tensor, float]:
        steps, shortcuts = WAYS[way]
        sampler = replace(self.pipeline.config.latent_sampler, steps=steps)
        generator = torch.Generator().manual_seed(1)
        latent, seconds = self._timed(
            lambda: self.pipeline.sample_latent(
                [self.condition], voxels, sampler, generator, "stochastic", Progress(), shortcuts
            )
        )
        return latent.feats, seconds

    def _timed(self, run: Any) -> tuple[Any, float]:
        device = self.pipeline.runtime.device
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        synchronize(device)
        started = clock()
        result = run()
        synchronize(device)
        return result, clock() - started


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two sets of voxels int32 [N, 4]."""
    first, second = ({tuple(row) for row in voxels.tolist()} for voxels in (one, other))
    return len(first & second) / len(first | second)


@torch.inference_mode()
def measure(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Means over the pictures: time against 25 exact steps, overlap, relative change."""
    first = next(iter(WAYS))
    exact = [trial.structure(first)[0] for trial in trials]
    exact_latents = [trial.latent(first, voxels)[0] for trial, voxels in zip(trials, exact)]
    rows: list[dict[str, Any]] = []
    for way in WAYS:
        seconds, overlaps, changes = 0.0, [], []
        for trial, voxels, latent in zip(trials, exact, exact_latents):
            structure, spent = trial.structure(way)
            moved, more = trial.latent(way, voxels)
            seconds += spent + more
            overlaps.append(overlap(structure, voxels))
            changes.append(float((moved - latent).norm() / latent.norm()))
        row = {"way": way, "seconds": seconds, "iou": sum(overlaps) / len(trials), "change": sum(changes) / len(trials)}
        rows.append(row | {"ratio": seconds / rows[0]["seconds"] if rows else 1.0})
        print(
            f"{way:20} {rows[-1]['ratio']:5.2f} of the time, structure IoU {row['iou']:.3f}, latent moved "
            f"{row['change']:.3f}",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shortcuts", description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    runtime = Runtime.detect(device=options.device, offline=True)
    pipeline = ImageTo3D.from_pretrained(options.model, runtime=runtime)
    print(f"{options.model} on {device_name(runtime.device)}, {len(options.pictures)} pictures")
    with torch.inference_mode():
        prepared = pipeline.prepare(options.pictures, background="auto", progress=Progress())
        conditions = pipeline.encode(prepared, progress=Progress())
    rows = measure([Trial(pipeline, condition) for condition in conditions])
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        write_bytes(options.output / "shortcuts.json", (json.dumps(rows, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
