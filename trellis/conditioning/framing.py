"""Framing: crop a cut-out picture around its object and scale it to the encoder's input."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from trellis.errors import InvalidInputError

OPAQUE = 0.8 * 255  # pixels above this alpha count as object
MARGIN = 1.2  # side of the crop over the longer side of the object's box


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready for the image encoder.

    cutout: the whole picture as RGBA; pixels: uint8 [S, S, 3], the framed object on black;
    box: (left, top, right, bottom) of the crop in pixels of `cutout`; background: how the object was cut out
    ("alpha", "rembg" or "grabcut"); notes: what the user should know about it.
    """

    cutout: Image.Image
    pixels: np.ndarray
    box: tuple[int, int, int, int]
    background: str
    notes: tuple[str, ...] = ()


def object_box(alpha: np.ndarray, *, above: float = OPAQUE) -> tuple[float, float, int]:
    """Centre (x, y) and side of the square crop around the pixels of `alpha` [H, W] uint8 that are `above` a limit.

    Raises InvalidInputError when nothing is opaque or the object is smaller than two pixels.
    """
    opaque = alpha > above
    rows, columns = np.flatnonzero(opaque.any(1)), np.flatnonzero(opaque.any(0))
    if len(rows) == 0:
        raise InvalidInputError(
            "There is nothing in the picture: no pixel is opaque. Use a picture that shows an object."
        )
    left, right = int(columns[0]), int(columns[-1])
    top, bottom = int(rows[0]), int(rows[-1])
    side = int(max(right - left, bottom - top) * MARGIN)
    if side < 2:
        raise InvalidInputError("The object in the picture is a single dot. Use a larger picture.")
    return (left + right) / 2, (top + bottom) / 2, side


def frame_object(
    cutout: Image.Image,
    size: int = 518,
    *,
    window: tuple[int, int, int, int] | None = None,
    above: float = OPAQUE,
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Frame the object of an RGBA picture: uint8 [size, size, 3] on black, and the crop box.

    The box is 1.2 times the object's longer side about its centre (docs/developer/model-facts.md, section 10); with a
    `window` it is that, widened where the object reaches beyond it. above: the alpha that the object's pixels exceed.
    """
    alpha = np.asarray(cutout.getchannel("A"))
    x, y, side = object_box(alpha, above=above)
    half = side // 2
    # Centres may lie between pixels; Pillow rounds the corners of a box half to even, and so do we.
    left, top, right, bottom = (round(edge) for edge in (x - half, y - half, x + half, y + half))
    if window is not None:
        left, top, right, bottom = _widened(window, alpha)
    crop = cutout.crop((left, top, right, bottom)).resize((size, size), Image.Resampling.LANCZOS)
    rgba = np.asarray(crop).astype(np.float32) / 255
    return (rgba[..., :3] * rgba[..., 3:] * 255).astype(np.uint8), (left, top, right, bottom)


def _widened(window: tuple[int, int, int, int], alpha: np.ndarray) -> tuple[int, int, int, int]:
    """The square `window`, or the square about it and the opaque pixels of `alpha` [H, W] where they reach beyond."""
    rows, columns = np.nonzero(alpha > OPAQUE)
    left, top, right, bottom = window
    wide = min(left, int(columns.min())), max(right, int(columns.max()) + 1)
    high = min(top, int(rows.min())), max(bottom, int(rows.max()) + 1)
    side = max(wide[1] - wide[0], high[1] - high[0])
    left, top = (sum(edges) // 2 - side // 2 for edges in (wide, high))
    return left, top, left + side, top + side
