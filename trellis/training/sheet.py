"""The contact sheet: pictures of held-out objects beside what the pipeline makes of them."""

import logging
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trellis.atomic import written_aside
from trellis.errors import CheckpointError, InvalidInputError, TrellisError
from trellis.export.clean import clean
from trellis.pipeline import ImageTo3D
from trellis.rendering.turntable import TurntableConfig, turntable
from trellis.training.procedural import HELD_OUT_SEEDS, ObjectBatch, render_pictures, sample_objects

SIDES = ("colors", "gaussians")
TURNS = 4  # frames of a whole turn; the first three are shown: front, side, back
SHOWN = 3
_INPUT_SIZE = 256
_PER_ROW = 2  # objects side by side
_SEARCHED = 512

logger = logging.getLogger(__name__)


def sheet_objects(families: list[str], count: int) -> ObjectBatch:
    """The first `count` held-out objects that are each the first of their family: nothing is picked by result."""
    first = HELD_OUT_SEEDS.start
    objects = sample_objects(torch.arange(first, first + _SEARCHED), families)
    names = objects.names()
    return objects.select([row for row, name in enumerate(names) if name not in names[:row]][:count])


def contact_sheet(
    pipeline: ImageTo3D, families: list[str], *, count: int = 16, size: int = 128, seed: int = 0
) -> Image.Image:
    """Input, then front, side and back of the mesh's colours, then of the Gaussians, for `count` objects, on white.

    Two objects share a row. What the model makes nothing of stays white.
    """
    objects = sheet_objects(families, count)
    pictures = render_pictures(objects, size=_INPUT_SIZE, seed=1, supersampling=2).images[:, 0]
    strips = []
    for name, rgba in zip(objects.names(), pictures):
        picture = Image.fromarray(np.asarray(rgba.cpu()))
        strips.append(np.concatenate([_on_white(picture, size), _views(pipeline, picture, name, size, seed)], axis=1))
        logger.info("%s: %d of %d", name, len(strips), len(objects))
    strips += [np.full_like(strips[0], 255)] * (-len(strips) % _PER_ROW)
    rows = [np.concatenate(strips[i : i + _PER_ROW], axis=1) for i in range(0, len(strips), _PER_ROW)]
    return Image.fromarray(np.concatenate(rows))


def _on_white(picture: Image.Image, size: int) -> np.ndarray:
    behind = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(behind, picture).convert("RGB").resize((size, size), Image.Resampling.BOX))


def _views(pipeline: ImageTo3D, picture: Image.Image, name: str, size: int, seed: int) -> np.ndarray:
    """uint8 [size, 6 size, 3]: the mesh's views, then the Gaussians'."""
    try:
        asset = pipeline(picture, seed=seed)
    except (CheckpointError, InvalidInputError):
        raise
    except TrellisError as error:  # the model found no object, or no surface
        logger.warning("%s: %s", name, error)
        return np.full((size, len(SIDES) * SHOWN * size, 3), 255, dtype=np.uint8)
    assert asset.mesh is not None
    config = TurntableConfig(sides=SIDES, size=size, frames=TURNS, background="white")
    frames = list(islice(turntable(gaussians=asset.gaussians, mesh=clean(asset.mesh), config=config), SHOWN))
    return np.concatenate([f[:, i * size : (i + 1) * size] for i in range(len(SIDES)) for f in frames], axis=1)


def write_sheet(pipeline: ImageTo3D, families: list[str], path: Path, *, count: int = 16, size: int = 128) -> None:
    """Write the contact sheet as PNG."""
    sheet = contact_sheet(pipeline, families, count=count, size=size)
    with written_aside(path) as aside:
        sheet.save(aside, "PNG", optimize=True)
