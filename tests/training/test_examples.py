"""The example pictures: one of each object, or several of one, written whole."""

from pathlib import Path

import numpy as np
from PIL import Image

from trellis.training.procedural.examples import EXAMPLES, MULTI_EXAMPLES, Example, write_examples
from trellis.training.procedural.objects import HELD_OUT_SEEDS

ASSETS = Path(__file__).parents[2] / "assets"


def test_several_views_of_an_object_are_numbered(tmp_path: Path) -> None:
    seed = HELD_OUT_SEEDS.start
    examples = (Example("mug", seed, 64, views=2), Example("mug", seed, 64), Example("cake", seed, 64, ((255, 0, 0),)))
    written = write_examples(tmp_path, examples)
    assert [path.name for path in written] == ["mug_1.png", "mug_2.png", "mug.png", "cake.png"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    first, second, alone, cake = (np.asarray(Image.open(path)) for path in written)
    assert first.shape == second.shape == (64, 64, 4) and cake.shape == (64, 64, 3)
    assert np.array_equal(first, alone) and not np.array_equal(first, second)
    assert first[..., 3].min() == 0 and second[..., 3].max() == 255 and (cake == (255, 0, 0)).all(-1).mean() > 0.2


def test_the_pictures_are_there() -> None:
    single = {f"{example.family}.png" for example in EXAMPLES}
    several = {f"{e.family}_{number + 1}.png" for e in MULTI_EXAMPLES for number in range(e.views)}
    assert {path.name for path in (ASSETS / "example_image").glob("*")} == single
    assert {path.name for path in (ASSETS / "example_multi_image").glob("*")} == several
