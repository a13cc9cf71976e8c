"""Measure a model on objects it never saw, beside baselines.

`python -m trellis.training.evaluate --model assets/models/trellis-nano --furniture test --known-furniture known`
measures everything: the fixed sets of `held_out`, real models out of data folders, and the time of a picture.
"""

import argparse
import json
import logging
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from trellis.errors import CheckpointError
from trellis.export.clean import clean
from trellis.families.trellis_family import NANO_FOLDER
from trellis.geometry.cameras import Cameras
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.representations import GaussianCloud, Mesh
from trellis.runtime import DEVICES, Runtime
from trellis.training import baselines, metrics, truth
from trellis.training.config import DataConfig, parse_config
from trellis.training.data import on_black
from trellis.training.evaluate_folder import evaluate as evaluate_folder
from trellis.training.generate import BatchGenerator
from trellis.training.held_out import held_out_sets
from trellis.training.picture_time import time_pictures
from trellis.training.procedural import ObjectBatch, occupancy, render_pictures, sample_objects
from trellis.training.program import program
from trellis.training.report import Scores, make_report, text
from trellis.training.start import SETTINGS_FILE
from trellis.training.trainer import write_json

VIEW_SIZE = 128
_BATCH = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """count: objects of known families; left_out: of each family left out of training; fine: with fine patterns;
    known: training objects that the nearest-neighbour baselines search (0: without these); rendered: objects of each
    set whose pictures are compared, in whole batches (of those with fine patterns all).
    """

    count: int = 200
    left_out: int = 20
    fine: int = 40
    known: int = 8192
    rendered: int = 40
    seed: int = 0
    steps: int | None = None
    cfg_strength: float | None = None


def evaluate(folder: Path, options: Options, *, device: torch.device) -> dict[str, Any]:
    """The report: settings, means over objects of known and of left-out families, and a table by family."""
    data = data_settings(folder)
    generator = BatchGenerator(folder, device, steps=options.steps, cfg_strength=options.cfg_strength)
    began = time.monotonic()
    known = baselines.training_set(data, generator, options.known) if options.known else None
    logger.info("training objects for the baselines: %.0f s", time.monotonic() - began)
    rows: list[dict[str, Any]] = []
    for chosen in held_out_sets(known=options.count, left_out=options.left_out, fine=options.fine):
        if not len(chosen.seeds):
            continue
        objects = sample_objects(chosen.seeds, chosen.programs, device=device)
        for number, part in enumerate(objects.split(_BATCH)):
            wanted = chosen.group == "fine_patterns" or number * _BATCH < options.rendered
            rows += _measure(
                part, chosen.group, generator=generator, known=known, data=data, seed=options.seed, render=wanted
            )
            logger.info("%d objects: %.0f s", len(rows), time.monotonic() - began)
    return make_report(rows, _settings(options, generator))


def _settings(options: Options, generator: BatchGenerator) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "held_out_objects": options.count,
        "left_out_objects": options.left_out,
        "fine_objects": options.fine,
        "training_objects_searched": options.known,
        "seed": options.seed,
        "structure_sampler": generator.config.structure_sampler.to_dict()["params"],
        "latent_sampler": generator.config.latent_sampler.to_dict()["params"],
        "surface_points": metrics.SAMPLES,
        "f_score_distance": metrics.F_DISTANCE,
    }


def data_settings(folder: Path) -> DataConfig:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: only a model assembled here can be evaluated.")
    return parse_config(json.loads(path.read_text(encoding="utf-8"))["flows"]).data


def _measure(
    objects: ObjectBatch, group: str, *, generator: BatchGenerator, known: baselines.TrainingSet | None,
    data: DataConfig, seed: int, render: bool
) -> list[dict[str, Any]]:  # fmt: skip
    """Scores of every method for a batch of objects."""
    dense = occupancy(objects, resolution=data.resolution)
    pictures = render_pictures(objects, size=data.picture_size, seed=seed, dense=dense, supersampling=2)
    framed = on_black(pictures.images[:, 0])
    made = generator(framed, seed=seed)
    meshes = [None if mesh is None or not len(mesh.faces) else clean(mesh) for mesh in made.meshes]
    points = truth.surface_points(objects, dense, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    empty = dense.new_zeros(0, 3, dtype=torch.float32)
    found = [empty if mesh is None else metrics.sample_mesh(mesh, generator=draw) for mesh in meshes]
    shapes = {"model": (made.dense, found)}
    if known is not None:
        by_feature = baselines.nearest(baselines.picture_features(generator, framed), known.features)
        by_pixel = baselines.nearest(baselines.picture_pixels(framed), known.pixels)
        shapes["nearest_features"] = known.shapes(by_feature, seed=seed)
        shapes["nearest_pixels"] = known.shapes(by_pixel, seed=seed)
    solids = [baselines.extruded_silhouette(image[..., 3].float() / 255, seed=seed) for image in pictures.images[:, 0]]
    shapes["extruded_silhouette"] = (
        torch.stack([baselines.shell_of_points(p, data.resolution) for p in solids]),
        solids,
    )
    numbered = zip(objects.names(), objects.seeds.tolist())
    rows: list[dict[str, Any]] = [{"group": group, "family": name, "seed": number} for name, number in numbered]
    for method, (grid, samples) in shapes.items():
        overlap = metrics.voxel_iou(grid, dense).tolist()
        for row, iou, mine, true in zip(rows, overlap, samples, points):
            chamfer, f_score = metrics.chamfer_and_f_score(mine, true)
            row[method] = {"iou": iou, "chamfer": chamfer, "f_score": f_score}
    if render:
        views = _compare_views(objects, pictures.cameras, made.gaussians, meshes)
        for row, scores in zip(rows, views):
            row["model"] |= scores
    return rows


def _compare_views(
    objects: ObjectBatch, cameras: Cameras, clouds: list[GaussianCloud | None], meshes: list[Mesh | None]
) -> list[Scores]:
    """PSNR of Gaussians and mesh colours against true surface colours, and silhouettes, from front and behind."""
    results: list[Scores] = [{} for _ in clouds]
    for name, placed in (("input", cameras), ("behind", truth.opposite(cameras))):
        colors, masks = truth.albedo_pictures(objects, placed, size=VIEW_SIZE)
        for scores, index in zip(results, range(len(clouds))):
            camera, cloud, mesh = placed[index : index + 1], clouds[index], meshes[index]
            black = torch.zeros_like(colors[index])
            splats = black if cloud is None else render_gaussians(cloud, camera, size=VIEW_SIZE).color[0].clamp(0, 1)
            image = None if mesh is None else render_mesh(mesh, camera, size=VIEW_SIZE)
            scores[f"psnr_gaussians_{name}"] = metrics.psnr(splats, colors[index])
            scores[f"psnr_mesh_{name}"] = metrics.psnr(black if image is None else image.color[0], colors[index])
            mask = black[0] if image is None else image.mask[0]
            scores[f"silhouette_iou_{name}"] = metrics.mask_iou(mask, masks[index])
    return results


@program
def main(arguments: list[str] | None) -> None:
    chosen = _arguments(arguments)
    options = Options(**{one.name: getattr(chosen, one.name) for one in fields(Options)})
    runtime = Runtime.detect(device=chosen.device)
    report = evaluate(chosen.model, options, device=runtime.device)
    if chosen.furniture is not None:
        report["furniture"] = evaluate_folder(
            chosen.model, chosen.furniture, chosen.known_furniture, device=runtime.device
        )
        found = report["furniture"]
        logger.info("furniture: %d objects, %d known: %s", found["objects"], found["known"], found["summary"])
    if chosen.timed:
        report["seconds"] = time_pictures(chosen.model, count=chosen.timed)
        logger.info("seconds a picture: %s", report["seconds"])
    write_json(chosen.output, report)
    logger.info("%s", text(report))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, default=NANO_FOLDER, help="model folder made by trellis.training.assemble"
    )
    parser.set_defaults(**vars(Options()))
    parser.add_argument("--count", type=int, help="held-out objects of known families")
    parser.add_argument("--left-out", type=int, help="objects of each family left out of training")
    parser.add_argument("--fine", type=int, help="objects with fine patterns")
    parser.add_argument("--known", type=int, help="training objects the baselines search, 0: none")
    parser.add_argument("--rendered", type=int, help="objects of a set whose pictures are compared")
    parser.add_argument("--furniture", type=Path, metavar="DIR", help="data folder of models never trained on")
    parser.add_argument("--known-furniture", type=Path, metavar="DIR", help="data folder that the nearest one is of")
    parser.add_argument("--timed", type=int, default=0, help="example pictures to time on two CPU cores, up to 16")
    parser.add_argument("--steps", type=int, help="sampling steps instead of the model's own")
    parser.add_argument("--cfg-strength", type=float, help="guidance instead of the model's own")
    parser.add_argument("--device", default="auto", help=f"one of {', '.join(DEVICES)}")
    parser.add_argument("--output", type=Path, default=Path("report.json"), help="report to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
