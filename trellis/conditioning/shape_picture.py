"""How a shape model is shown a picture: its encoder, and the recipe by which a cut-out becomes the encoder's input."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError


@dataclass(frozen=True)
class EncoderSizes:
    """The DINOv2 that reads pictures of `image_size` pixels, and how many of one object it takes."""

    hidden_size: int = 1536
    num_hidden_layers: int = 40
    num_attention_heads: int = 24
    mlp_ratio: int = 4
    image_size: int = 518
    patch_size: int = 14
    most_pictures: int = 1


@dataclass(frozen=True)
class PictureRecipe:
    """Side of the framed picture in pixels, and the margin about the object as a share of it."""

    size: int = 512
    border_ratio: float = 0.15


def frame_for_shape(cutout: NDArray[np.uint8], recipe: PictureRecipe) -> NDArray[np.uint8]:
    """A cut-out uint8 [H, W, 4], framed: uint8 [S, S, 3], its object on white in the middle.

    Source: docs/developer/hunyuan-facts.md, section 5. Raises InvalidInputError where nothing is visible.
    """
    import cv2

    square = object_on_square(cutout, recipe)
    alpha = square[..., 3:].astype(np.float32) / 255
    flat = (square[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.asarray(cv2.resize(flat, (recipe.size, recipe.size), interpolation=cv2.INTER_CUBIC), np.uint8)


def object_on_square(cutout: NDArray[np.uint8], recipe: PictureRecipe) -> NDArray[np.uint8]:
    """The object of a cut-out in the middle of a transparent square of the picture's longer side: uint8 [S, S, 4].

    The box of the object leaves its last row and column out, as the published recipe does.
    """
    import cv2

    rows, columns = np.nonzero(cutout[..., 3])
    if len(rows) == 0:
        raise InvalidInputError("There is nothing in the picture: no pixel is visible. Use one that shows an object.")
    top, left, height, width = (int(value) for value in (rows.min(), columns.min(), np.ptp(rows), np.ptp(columns)))
    longest = max(height, width)
    if longest == 0:
        raise InvalidInputError("The object in the picture is a single dot. Use a larger picture.")
    side = max(cutout.shape[:2])
    scale = int(side * (1 - recipe.border_ratio)) / longest
    high, wide = (max(int(length * scale), 1) for length in (height, width))
    crop = np.ascontiguousarray(cutout[top : top + max(height, 1), left : left + max(width, 1)])
    square = np.zeros((side, side, 4), np.uint8)
    y, x = (side - high) // 2, (side - wide) // 2
    square[y : y + high, x : x + wide] = cv2.resize(crop, (wide, high), interpolation=cv2.INTER_AREA)
    return square
