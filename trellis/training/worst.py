"""Draw what a model made worst: `python -m trellis.training.worst --report report.json --output worst.png`.

A column an object, from the top: the input picture, the model's mesh and the truth as the picture's camera sees them,
and both from behind. The report is that of `trellis.training.evaluate`.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from trellis.atomic import written_aside
from trellis.errors import InvalidInputError
from trellis.export.clean import clean
from trellis.families.trellis_family import NANO_FOLDER
from trellis.geometry.cameras import Cameras
from trellis.rendering.mesh import render_mesh
from trellis.representations import Mesh
from trellis.runtime import DEVICES, Runtime
from trellis.training import truth
from trellis.training.config import read_json
from trellis.training.data import on_black
from trellis.training.generate import BatchGenerator
from trellis.training.procedural import occupancy, render_pictures, sample_objects
from trellis.training.program import program
from trellis.training.samples import sheet, to_image

logger = logging.getLogger(__name__)


def worst_objects(report: dict[str, Any], group: str, count: int) -> list[dict[str, Any]]:
    """The objects of a group with the lowest IoU, the worst first. Raises InvalidInputError where there is none."""
    groups = sorted({row["group"] for row in report.get("objects", [])})
    if group not in groups:
        raise InvalidInputError(f"The report has no group {group!r}; it has {', '.join(groups) or 'none'}.")
    return sorted((row for row in report["objects"] if row["group"] == group), key=lambda row: row["iou"])[:count]


def draw(generator: BatchGenerator, rows: list[dict[str, Any]], *, seed: int = 0) -> Image.Image:
    """The sheet of objects given by `family` and `seed`; noise is drawn from `seed`."""
    size = int(generator.encoder.image_size)
    columns = []
    for row in rows:
        objects = sample_objects(torch.tensor([row["seed"]]), [row["family"]], device=generator.device)
        dense = occupancy(objects, resolution=generator.resolution)
        pictures = render_pictures(objects, size=size, seed=0, dense=dense, supersampling=2)
        framed = on_black(pictures.images[:, 0])
        [mesh] = generator(framed, seed=seed).meshes
        column = [framed[0].float() / 255]
        for cameras in (pictures.cameras, truth.opposite(pictures.cameras)):
            column += [_drawn(mesh, cameras, size), truth.albedo_pictures(objects, cameras, size=size)[0][0]]
        columns.append([to_image(one) for one in column])
    return sheet(list(zip(*columns)))


def _drawn(mesh: Mesh | None, camera: Cameras, size: int) -> Tensor:
    if mesh is None or not len(mesh.faces):
        return torch.zeros(3, size, size)
    return render_mesh(clean(mesh), camera, size=size).color[0]


@program
def main(arguments: list[str] | None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NANO_FOLDER, help="folder of the model of the report")
    parser.add_argument("--report", type=Path, required=True, help="what the evaluation has written")
    parser.add_argument("--group", default="held_out", help="of which set")
    parser.add_argument("--count", type=int, default=10, help="objects")
    parser.add_argument("--device", default="auto", help=f"one of {', '.join(DEVICES)}")
    parser.add_argument("--output", type=Path, default=Path("worst.png"), help="picture to write")
    chosen = parser.parse_args(arguments)
    rows = worst_objects(read_json(chosen.report), chosen.group, chosen.count)
    generator = BatchGenerator(chosen.model, Runtime.detect(device=chosen.device).device)
    picture = draw(generator, rows)
    with written_aside(chosen.output) as aside:
        picture.save(aside, "PNG", optimize=True)
    logger.info("%s", ", ".join(f"{row['family']} {row['iou']:.2f}" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
