"""Write the example pictures: `python -m trellis.training.procedural.examples --output assets`.

`example_image` holds one picture of each object, `example_multi_image` several of one.
"""

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

from trellis.atomic import write_bytes
from trellis.training.procedural.objects import HELD_OUT_SEEDS, sample_objects
from trellis.training.procedural.pictures import render_pictures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """Pictures of one object: family, held-out seed, side in pixels, background (None: transparent; one or two rgb
    colours), number of views.
    """

    family: str
    seed: int
    size: int
    background: tuple[tuple[int, int, int], ...] | None = None
    views: int = 1


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
    Example("bear", _FIRST + 2, 640, ((150, 178, 204), (196, 210, 222))),
    Example("rocket", _FIRST + 3, 640, ((40, 46, 66), (88, 98, 130))),
    Example("cactus", _FIRST + 4, 640, ((250, 240, 222),)),
    Example("cake", _FIRST + 5, 640, ((110, 84, 72),)),
)
MULTI_EXAMPLES = (Example("car", _FIRST + 3, 518, views=4), Example("robot", _FIRST + 1, 518, views=4))


def render_example(example: Example) -> list[Image.Image]:
    """The pictures of one example: RGBA when its background is transparent, else RGB."""
    batch = sample_objects([example.seed], [example.family])
    views = list(render_pictures(batch, views=example.views, size=example.size, seed=1, supersampling=2).images[0])
    if example.background is not None:
        views = [_over_background(rgba, example.background) for rgba in views]
    return [Image.fromarray(np.asarray(view)) for view in views]


def _over_background(rgba: Tensor, colors: tuple[tuple[int, int, int], ...]) -> Tensor:
    """Blend over a plain colour or a vertical gradient of two."""
    top, bottom = torch.tensor(colors[0]).float(), torch.tensor(colors[-1]).float()
    share = torch.linspace(0, 1, rgba.shape[0])[:, None, None]
    background = top + (bottom - top) * share
    alpha = rgba[..., 3:].float() / 255
    return (rgba[..., :3].float() * alpha + background * (1 - alpha)).round().to(torch.uint8)


def write_examples(output: Path, examples: Sequence[Example]) -> list[Path]:
    """Write examples as PNG into `output`, numbered where there are several of an object; a file appears whole."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for example in examples:
        for number, picture in enumerate(render_example(example), 1):
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", optimize=True)
            path = output / (f"{example.family}.png" if example.views == 1 else f"{example.family}_{number}.png")
            write_bytes(path, buffer.getvalue())
            logger.info("wrote %s", path)
            written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("assets"), help="folder for the folders of PNG files")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_examples(options.output / "example_image", EXAMPLES)
    write_examples(options.output / "example_multi_image", MULTI_EXAMPLES)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
