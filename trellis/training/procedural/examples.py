"""Write the example pictures: `python -m trellis.training.procedural.examples --output assets/example_image`."""

import argparse
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trellis.training.procedural.objects import HELD_OUT_SEEDS, sample_objects
from trellis.training.procedural.pictures import render_pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One picture: family, held-out seed, side in pixels, background (None: transparent; one or two rgb colours)."""

    family: str
    seed: int
    size: int
    background: tuple[tuple[int, int, int], ...] | None = None


_FIRST = HELD_OUT_SEEDS.start + 1_000_000
EXAMPLES = (
    Example("chair", _FIRST + 7, 640),
    Example("teapot", _FIRST + 2, 640),
    Example("car", _FIRST + 3, 800),
    Example("robot", _FIRST + 1, 640),
    Example("boat", _FIRST + 5, 720),
    Example("aeroplane", _FIRST + 1, 640),
    Example("house", _FIRST + 9, 640),
    Example("mushroom", _FIRST + 2, 518),
    Example("guitar", _FIRST + 6, 800),
    Example("snowman", _FIRST + 1, 560),
    Example("lighthouse", _FIRST + 3, 640),
    Example("mug", _FIRST + 7, 600, ((246, 246, 244),)),
    Example("bear", _FIRST + 2, 640, ((214, 228, 240), (244, 246, 248))),
    Example("rocket", _FIRST + 3, 640, ((40, 46, 66), (88, 98, 130))),
    Example("cactus", _FIRST + 4, 640, ((250, 240, 222),)),
    Example("cake", _FIRST + 5, 640, ((255, 255, 255),)),
)


def render_example(example: Example) -> Image.Image:
    """The picture of one example: RGBA when its background is transparent, else RGB."""
    batch = sample_objects([example.seed], [example.family])
    rgba = render_pictures(batch, size=example.size, seed=1, supersampling=2).images[0, 0]
    if example.background is None:
        return Image.fromarray(np.asarray(rgba))
    return Image.fromarray(np.asarray(_over_background(rgba, example.background)))


def _over_background(rgba: Tensor, colors: tuple[tuple[int, int, int], ...]) -> Tensor:
    """Blend over a plain colour or a vertical gradient of two."""
    top, bottom = torch.tensor(colors[0]).float(), torch.tensor(colors[-1]).float()
    share = torch.linspace(0, 1, rgba.shape[0])[:, None, None]
    background = top + (bottom - top) * share
    alpha = rgba[..., 3:].float() / 255
    return (rgba[..., :3].float() * alpha + background * (1 - alpha)).round().to(torch.uint8)


def write_examples(output: Path) -> list[Path]:
    """Write every example as PNG into `output`; each file is written aside and renamed."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for example in EXAMPLES:
        buffer = io.BytesIO()
        render_example(example).save(buffer, "PNG", optimize=True)
        path = output / f"{example.family}.png"
        temporary = path.with_suffix(".png.part")
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
        logger.info("wrote %s", path)
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("assets/example_image"), help="folder for the PNG files")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_examples(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
