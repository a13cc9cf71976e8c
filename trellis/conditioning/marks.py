"""What a person draws on a picture to say what its object is: a crop, a box around it, strokes of a brush."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from trellis.errors import InvalidInputError

ADD, REMOVE = 1, 2  # values of strokes
SMALLEST_BOX = 0.01  # of a side

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Marks:
    """`crop` and `box` are (left, top, right, bottom) as shares of the picture's sides; outside the box is background.

    strokes: uint8 [H, W] over the whole picture, at any size: ADD is object, REMOVE is background, 0 says nothing.
    Raises InvalidInputError for a box that is no box or outside the picture.
    """

    crop: Box | None = None
    box: Box | None = None
    strokes: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, box in (("crop", self.crop), ("box", self.box)):
            if box is not None and not _is_inside(box):
                raise InvalidInputError(f"The {name} is too small or outside the picture; draw it again, larger.")

    def cropped(self, picture: Image.Image) -> "tuple[Image.Image, Marks]":
        """The part of the picture within the crop, and the marks on that part; both as they are without a crop."""
        strokes = self.strokes
        if strokes is not None:
            strokes = cv2.resize(strokes, picture.size, interpolation=cv2.INTER_NEAREST)
        if self.crop is None:
            return picture, replace(self, strokes=strokes)
        (width, height), (left, top, right, bottom) = picture.size, self.crop
        x, y = int(left * width), int(top * height)
        edges = x, y, max(x + 1, round(right * width)), max(y + 1, round(bottom * height))
        part = picture.crop(edges)
        box = self.box
        if box is not None:
            scale = (width / part.width, height / part.height)
            moved = [
                (share * side - start) * factor / side
                for share, side, start, factor in zip(box, (width, height) * 2, (x, y) * 2, scale * 2, strict=True)
            ]
            limited = tuple(min(1.0, max(0.0, share)) for share in moved)
            box = (limited[0], limited[1], limited[2], limited[3])
        if strokes is not None:
            strokes = strokes[edges[1] : edges[3], edges[0] : edges[2]]
        return part, Marks(box=box, strokes=strokes)


def _is_inside(box: Box) -> bool:
    left, top, right, bottom = box
    sized = right - left >= SMALLEST_BOX and bottom - top >= SMALLEST_BOX
    return all(map(math.isfinite, box)) and sized and min(left, top) >= 0 and max(right, bottom) <= 1
