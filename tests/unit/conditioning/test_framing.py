"""The crop of section 10 of the model facts, and what happens at its edges."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trellis.conditioning import frame_object
from trellis.conditioning.framing import object_box
from trellis.errors import InvalidInputError

GOLDENS = Path(__file__).parents[2] / "parity" / "data" / "goldens.json"


def golden_picture(dims: list[int]) -> Image.Image:
    width, height, cx, cy, rx, ry = dims
    y, x = np.mgrid[0:height, 0:width]
    inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
    channels = [255 * x / width, 255 * y / height, (7 * (x + y)) % 256, 255 * inside]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def test_framing_matches_the_reference_numbers() -> None:
    case = json.loads(GOLDENS.read_text())["cases"]["preprocess_image"]
    pixels, _ = frame_object(golden_picture(case["dims"]), 518)
    flat = pixels.astype(np.float64).reshape(-1)
    assert list(pixels.shape) == case["out"]["shape"]
    assert np.abs(flat[case["out"]["at"]] - case["out"]["values"]).max() <= 2
    assert abs(flat.mean() - case["out"]["mean"]) < 0.1


def test_box_is_centred_and_a_fifth_larger_than_the_object() -> None:
    alpha = np.zeros((100, 200), np.uint8)
    alpha[10:61, 20:121] = 255
    assert object_box(alpha) == (70.0, 35.0, 120)


def test_half_centres_round_half_to_even_like_pillow() -> None:
    picture = Image.new("RGBA", (64, 64))
    picture.paste((255, 0, 0, 255), (10, 10, 31, 30))  # columns 10..30, rows 10..29: centre (20, 19.5)
    _, box = frame_object(picture, 32)
    assert box == (8, 8, 32, 32)


@pytest.mark.parametrize("alpha", [0, 200])
def test_a_picture_with_nothing_opaque_is_refused(alpha: int) -> None:
    with pytest.raises(InvalidInputError, match="nothing in the picture"):
        frame_object(Image.new("RGBA", (64, 64), (255, 255, 255, alpha)))


def test_a_single_dot_is_refused() -> None:
    picture = Image.new("RGBA", (64, 64))
    picture.putpixel((5, 5), (255, 255, 255, 255))
    with pytest.raises(InvalidInputError, match="single dot"):
        frame_object(picture)
