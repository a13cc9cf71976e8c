"""The frame of a picture: its size, the window that the networks saw of it, and where it was taken from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trellis.conditioning.pictures import check_frame
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class PictureView:
    """size (width, height) of a picture in pixels, the square `box` (left, top, right, bottom) that it is cropped to,
    and the one camera of this crop, if it is known.

    A picture of the same frame, such as the first one painted over, shows the object at the same place.
    """

    size: tuple[int, int]
    box: Window
    camera: Cameras | None = None

    def camera_of(self, box: Window) -> Cameras | None:
        """The camera of another crop of the same picture."""
        if self.camera is None:
            return None
        (left, top, right, _), (x, y, end, _) = self.box, box
        scale = (right - left) / (end - x)
        inner = self.camera.intrinsics.clone()
        inner[:, :2] *= scale
        inner[:, 0, 2] += (left - x) / (end - x)
        inner[:, 1, 2] += (top - y) / (end - x)
        return replace(self.camera, intrinsics=inner)

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise InvalidInputError unless a picture of `size` is of this frame."""
        check_frame(size, self.size)

    def to_dict(self) -> dict[str, Any]:
        """The view as numbers, for `from_dict`, also by way of JSON."""
        camera = None
        if self.camera is not None:
            outer, inner = (part[0].tolist() for part in (self.camera.extrinsics, self.camera.intrinsics))
            camera = {"extrinsics": outer, "intrinsics": inner}
        return {"size": list(self.size), "box": list(self.box), "camera": camera}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "PictureView":
        """What `to_dict` made; raises InvalidInputError for anything else."""
        try:
            width, height, left, top, right, bottom = (int(value) for value in (*record["size"], *record["box"]))
            camera = record["camera"] and Cameras(
                _matrix(record["camera"]["extrinsics"], 4), _matrix(record["camera"]["intrinsics"], 3)
            )
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise InvalidInputError(f"This is no view of a picture: {error}.", field="view") from error
        if not (width > 0 and height > 0 and left < right and right - left == bottom - top):
            raise InvalidInputError(
                "A view needs a positive size and a square box from left top to right bottom.", field="view"
            )
        return cls((width, height), (left, top, right, bottom), camera)


def _matrix(rows: Any, side: int) -> Tensor:
    """A matrix [1, side, side] of finite numbers; raises ValueError."""
    values = [[float(value) for value in row] for row in rows]
    if len(values) != side or any(len(row) != side or not all(map(math.isfinite, row)) for row in values):
        raise ValueError(f"a matrix of a camera is no {side} x {side} numbers")
    return torch.tensor([values])
