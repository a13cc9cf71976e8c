"""The recipe of a shape model's picture, beyond the published numbers: what else may come, and what it must mean."""

import numpy as np
import pytest
import torch

from tests.tiny_shape_model import DINO, sizes_of
from trellis.conditioning.shape_encoder import ShapeEncoder, side_waves
from trellis.conditioning.shape_picture import EncoderSizes, PictureRecipe, frame_for_shape, object_on_square
from trellis.errors import InvalidInputError

RECIPE = PictureRecipe()


def cutout(shape: tuple[int, int], box: tuple[int, int, int, int], color: int = 0, alpha: int = 255) -> np.ndarray:
    """A rectangle (top, left, bottom, right) of one colour."""
    picture = np.zeros((*shape, 4), np.uint8)
    top, left, bottom, right = box
    picture[top:bottom, left:right] = (color, color, color, alpha)
    return picture


def extent(picture: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(picture)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


@pytest.mark.parametrize(
    ("shape", "box", "expected"),
    [
        ((100, 200), (10, 20, 91, 61), (15, 57, 185, 142)),  # 80 x 40 grows to 170 of 200
        ((200, 100), (5, 3, 196, 94), (15, 60, 185, 140)),  # 190 x 90 shrinks: 80 wide
        ((64, 64), (20, 0, 22, 64), (31, 5, 32, 59)),  # 1 x 63 would lose its height
    ],
)
def test_the_object_fills_the_square_but_for_its_margin(
    shape: tuple[int, int], box: tuple[int, int, int, int], expected: tuple[int, int, int, int]
) -> None:
    square = object_on_square(cutout(shape, box, color=200), RECIPE)
    assert square.shape == (max(shape), max(shape), 4)
    assert extent(square[..., 3]) == expected


def test_soft_alpha_is_laid_on_white_and_counts_as_object() -> None:
    framed = frame_for_shape(cutout((60, 60), (10, 10, 51, 51), color=0, alpha=51), RECIPE)
    assert framed.shape == (512, 512, 3) and framed.dtype == np.uint8
    assert tuple(framed[256, 256]) == (204, 204, 204) and tuple(framed[0, 0]) == (255, 255, 255)
    hidden = cutout((60, 60), (10, 10, 51, 51), color=90, alpha=0)
    with pytest.raises(InvalidInputError, match="nothing in the picture"):
        frame_for_shape(hidden, RECIPE)
    with pytest.raises(InvalidInputError, match="single dot"):
        frame_for_shape(cutout((60, 60), (10, 10, 11, 11)), RECIPE)


def test_sides_are_told_apart_by_their_number() -> None:
    waves = side_waves(torch.tensor([0.0, 1, 3]), 8)
    assert torch.equal(waves[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    steps = torch.tensor([1.0, 0.1, 0.01, 0.001])
    for row, number in ((1, 1), (2, 3)):
        expected = torch.cat([torch.sin(number * steps), torch.cos(number * steps)])
        torch.testing.assert_close(waves[row], expected)


@torch.inference_mode()
def test_views_1_and_3_come_one_after_the_other() -> None:
    encoder = ShapeEncoder(sizes_of(EncoderSizes, DINO)).eval()
    pictures = torch.rand(2, 3, 64, 64)
    alone, together = encoder(pictures[1:]), encoder(pictures, (1, 3))
    assert alone.shape == (1, 10, 48) and together.shape == (1, 20, 48)
    waves = side_waves(torch.tensor([3.0]), 48)
    torch.testing.assert_close(together[:, 10:], alone + waves, rtol=0, atol=1e-5)
    encoder.set_precision(torch.float16)
    assert encoder.torso_dtype == torch.float16 and encoder(pictures, (1, 3)).dtype == torch.float32
