"""Speeds of sampling on a trained model, against 25 exact steps: `python -m benchmarks.speeds --output DIR`.

Objects are held-out ones of the embedded model's families. Of every way of sampling: the time of both flows, the
overlap of its voxels (IoU) and the F-score of its mesh against those of 25 steps, and the F-score against the true
object. Fewer steps of the exact sampler are the honest rival of every other speed.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from trellis import ImageTo3D
from trellis.atomic import write_bytes
from trellis.conditions import Condition
from trellis.errors import TrellisError
from trellis.families.catalogue import resolve_model
from trellis.progress import Progress
from trellis.runtime import Runtime, device_name, synchronize
from trellis.training import metrics, truth
from trellis.training.assemble import SETTINGS_FILE
from trellis.training.config import parse_config
from trellis.training.data import training_families
from trellis.training.procedural import HELD_OUT_SEEDS, occupancy, render_pictures, sample_objects

FINE = 0.02  # distance of the F-score against 25 steps; the one against the truth has the evaluation's 0.05
# Steps and speed. The first is what others are compared with.
WAYS: dict[str, tuple[int, str]] = {
    "25 steps": (25, "exact"),
    **{f"{steps} steps": (steps, "exact") for steps in (18, 12, 8, 6, 4, 2)},
    **{f"{steps} steps, {speed}": (steps, speed) for steps in (25, 12) for speed in ("fast", "fastest")},
}


@dataclass(frozen=True)
class Subject:
    """One object: its framed picture, and points on its true surface [n, 3]."""

    name: str
    picture: Image.Image
    points: Tensor


@dataclass(frozen=True)
class Outcome:
    """What one way made of a subject: occupied voxels, points on the mesh (none without a surface), seconds."""

    voxels: frozenset[tuple[int, ...]]
    points: Tensor
    seconds: float


def subjects(model: Path, count: int) -> list[Subject]:
    """Held-out objects of the families that the model in this folder was trained on."""
    data = parse_config(json.loads((model / SETTINGS_FILE).read_text(encoding="utf-8"))["flows"]).data
    seeds = torch.arange(HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.start + count)
    objects = sample_objects(seeds, training_families(data))
    dense = occupancy(objects, resolution=data.resolution)
    images = render_pictures(objects, size=data.picture_size, seed=0, dense=dense, supersampling=2).images
    points = truth.surface_points(objects, dense, seed=0)
    pictures = [Image.fromarray(image.numpy(), "RGBA") for image in images[:, 0]]
    return [Subject(*parts) for parts in zip(objects.names(), pictures, points)]


def generate(pipeline: ImageTo3D, condition: Condition, way: str) -> Outcome:
    """Both flows in one way, and the mesh of what came out."""
    steps, speed = WAYS[way]
    config, generator = pipeline.config, torch.Generator().manual_seed(0)
    structure_sampler = replace(config.structure_sampler, steps=steps)
    latent_sampler = replace(config.latent_sampler, steps=steps)
    options = (generator, "stochastic", Progress(), speed)
    structure, spent = timed(lambda: pipeline.sample_structure(condition, structure_sampler, *options), pipeline)
    try:
        voxels = pipeline.decode_structure(structure)
    except TrellisError:  # no voxel is occupied
        return Outcome(frozenset(), torch.zeros(0, 3), spent)
    latent, more = timed(lambda: pipeline.sample_latent(condition, voxels, latent_sampler, *options), pipeline)
    mesh = pipeline.decode_mesh(latent)
    points = metrics.sample_mesh(mesh, generator=torch.Generator().manual_seed(0))
    return Outcome(frozenset(map(tuple, voxels.tolist())), points.cpu(), spent + more)


def timed(run: Callable[[], Any], pipeline: ImageTo3D) -> tuple[Any, float]:
    """The result and its seconds: of the processor on a CPU, where others may be at work."""
    device = pipeline.runtime.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    synchronize(device)
    started = clock()
    result = run()
    synchronize(device)
    return result, clock() - started


def scores(outcome: Outcome, exact: Outcome, subject: Subject) -> dict[str, float]:
    either = outcome.voxels | exact.voxels
    return {
        "seconds": outcome.seconds,
        "ratio": outcome.seconds / exact.seconds,
        "iou": len(outcome.voxels & exact.voxels) / len(either) if either else 1.0,
        "f_exact": metrics.chamfer_and_f_score(outcome.points, exact.points, distance=FINE)[1],
        "f_true": metrics.chamfer_and_f_score(outcome.points, subject.points)[1],
    }


@torch.inference_mode()
def measure(pipeline: ImageTo3D, chosen: Sequence[Subject], ways: Sequence[str]) -> list[dict[str, Any]]:
    """Mean scores of every way, the first of `WAYS` being what others are compared with; prints the table."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number, subject in enumerate(chosen, 1):
        condition = pipeline.read(subject.picture, background="alpha", progress=Progress())
        exact = generate(pipeline, condition, next(iter(WAYS)))
        for way in ways:
            outcome = exact if way == next(iter(WAYS)) else generate(pipeline, condition, way)
            found[way].append(scores(outcome, exact, subject))
        print(f"{number} of {len(chosen)}: {subject.name}", file=sys.stderr, flush=True)
    rows = [{"way": way, "objects": len(chosen)} | means(values) for way, values in found.items()]
    print("| way | time | IoU with 25 steps | F-score with 25 steps | F-score with the truth |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['way']} | {row['ratio']:.2f} | {row['iou']:.3f} | {row['f_exact']:.3f} | {row['f_true']:.3f} |")
    return rows


def means(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: math.fsum(value[key] for value in values) / len(values) for key in values[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speeds", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", help="the embedded model, or a folder of the same kind")
    parser.add_argument("--objects", type=int, default=24)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    runtime = Runtime.detect(device=options.device, offline=True)
    pipeline = ImageTo3D.from_pretrained(options.model, runtime=runtime)
    print(f"{options.model} on {device_name(runtime.device)}, {options.objects} objects")
    folder = resolve_model(options.model, runtime=runtime).folder
    rows = measure(pipeline, subjects(folder, options.objects), options.ways)
    if options.output is not None:
        record = {"device": device_name(runtime.device), "model": options.model, "rows": rows}
        write_bytes(options.output / "speeds.json", (json.dumps(record, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
