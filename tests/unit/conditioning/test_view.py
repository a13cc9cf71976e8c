"""The frame of a picture: kept as numbers, and cropped again; windows of pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trellis.conditioning import frame_object, prepare_image
from trellis.conditioning.view import PictureView
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import orbit_cameras

VIEW = PictureView((400, 300), (50, 20, 250, 220), orbit_cameras([1.0], [0.2]))


def test_a_view_comes_back_from_its_numbers() -> None:
    found = PictureView.from_dict(json.loads(json.dumps(VIEW.to_dict())))
    assert (found.size, found.box) == (VIEW.size, VIEW.box)
    assert found.camera is not None and VIEW.camera is not None
    assert torch.equal(found.camera.extrinsics, VIEW.camera.extrinsics)
    assert torch.equal(found.camera.intrinsics, VIEW.camera.intrinsics)
    bare = replace(VIEW, camera=None)
    assert PictureView.from_dict(json.loads(json.dumps(bare.to_dict()))) == bare


@pytest.mark.parametrize(
    "change",
    [{"size": [0, 10]}, {"box": [0, 0, 10, 20]}, {"box": [0, 0]}, {"box": "none"}, {"camera": {"extrinsics": [[1]]}}],
)
def test_what_is_no_view_is_refused(change: dict) -> None:
    with pytest.raises(InvalidInputError) as found:
        PictureView.from_dict(VIEW.to_dict() | change)
    assert found.value.field == "view"


def test_another_crop_has_a_camera_that_sees_the_same_pixels() -> None:
    box = (10, 0, 310, 300)
    moved = VIEW.camera_of(box)
    assert moved is not None and VIEW.camera is not None
    point = torch.tensor([0.1, -0.2, 0.15])
    for camera, crop in ((VIEW.camera, VIEW.box), (moved, box)):
        local = camera.extrinsics[0, :3, :3] @ point + camera.extrinsics[0, :3, 3]
        x, y, _ = camera.intrinsics[0] @ (local / local[2])
        side = crop[2] - crop[0]
        pixel = torch.stack([crop[0] + x * side, crop[1] + y * side])
        if crop == VIEW.box:
            expected = pixel
    assert torch.allclose(pixel, expected, atol=1e-3)


def square(low: int, high: int) -> Image.Image:
    pixels = np.zeros((100, 100, 4), dtype=np.uint8)
    pixels[low:high, low:high] = 255
    return Image.fromarray(pixels)


def test_a_window_is_kept_and_widened_where_the_object_reaches_beyond() -> None:
    window = (20, 20, 80, 80)
    pixels, box = frame_object(square(40, 60), 60, window=window)
    assert box == window
    assert bool((pixels[20:40, 20:40] > 250).all()) and not pixels[:18].any()
    left, top, right, bottom = frame_object(square(10, 60), 60, window=window)[1]
    assert left <= 10 and top <= 10 and right >= 80 and right - left == bottom - top
    assert prepare_image(square(40, 60), size=60, window=window).box == window
    assert prepare_image(square(40, 60), size=60).box != window
