"""What a person draws: a box finds what the border's colour does not, strokes hold, a crop is what is used."""

import numpy as np
import pytest
from PIL import Image

from trellis.conditioning import cut_out, prepare_image
from trellis.conditioning.grabcut import estimate_alpha
from trellis.conditioning.marks import ADD, REMOVE, Box, Marks
from trellis.errors import InvalidInputError
from trellis.runtime import ModelFiles

SIDE = 240
Y, X = np.mgrid[0:SIDE, 0:SIDE]
DISC = (X - 100) ** 2 + (Y - 120) ** 2 < 50**2
AROUND: Box = (0.17, 0.25, 0.67, 0.75)


@pytest.fixture
def cluttered() -> Image.Image:
    """A red disc before tiles of many colours."""
    tiles = np.random.default_rng(5).integers(60, 200, (SIDE // 12, SIDE // 12, 3))
    background = tiles.repeat(12, axis=0).repeat(12, axis=1)
    return Image.fromarray(np.where(DISC[..., None], (250, 20, 20), background).astype(np.uint8))


def overlap(found: np.ndarray) -> float:
    return float((DISC & found).sum() / (DISC | found).sum())


def cut(picture: Image.Image, marks: Marks, background: str = "auto") -> np.ndarray:
    return np.asarray(cut_out(picture, background=background, runtime=ModelFiles(), marks=marks)[0])


def test_a_box_finds_an_object_before_clutter(cluttered: Image.Image) -> None:
    with pytest.raises(InvalidInputError, match="No object stands out"):
        estimate_alpha(np.asarray(cluttered))
    result, method, remark = cut_out(cluttered, background="alpha", runtime=ModelFiles(), marks=Marks(box=AROUND))
    assert overlap(np.asarray(result)[..., 3] > 127) > 0.95
    assert (method, remark) == ("grabcut", None)


def test_strokes_hold_where_they_are_drawn_at_any_size(cluttered: Image.Image) -> None:
    strokes = np.zeros((SIDE // 2, SIDE // 2), np.uint8)
    strokes[100:110, 90:110], strokes[50:60, 50:60] = ADD, REMOVE
    for background, box in (("auto", AROUND), ("whole", None)):
        before = cut(cluttered, Marks(box=box), background)[..., 3]
        after = cut(cluttered, Marks(box=box, strokes=strokes), background)
        assert before[205, 190] == (0 if box else 255) and before[110, 110] > 250
        assert after[200:220, 180:220, 3].min() == 255 and after[100:120, 100:120, 3].max() == 0
        assert (after[200:220, 180:220, :3] == np.asarray(cluttered)[200:220, 180:220]).all()


def test_strokes_alone_show_the_object(cluttered: Image.Image) -> None:
    strokes = np.zeros((SIDE, SIDE), np.uint8)
    strokes[100:140, 80:120] = ADD
    assert cut(cluttered, Marks(strokes=strokes))[110:130, 90:110, 3].min() == 255


def test_a_crop_is_what_is_left_and_marks_go_with_it(cluttered: Image.Image) -> None:
    strokes = np.zeros((SIDE, SIDE), np.uint8)
    strokes[90:100, 70:80] = REMOVE
    marks = Marks(crop=(0.125, 0.125, 0.75, 1.0), box=AROUND, strokes=strokes)
    result = cut(cluttered, marks)
    assert result.shape == (210, 150, 4)
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[30:240, 30:180] = result[..., 3]
    assert whole[90:100, 70:80].max() == 0 and overlap((whole > 127) | (strokes > 0)) > 0.9


def test_the_whole_picture_is_the_object(cluttered: Image.Image) -> None:
    prepared = prepare_image(cluttered, size=64, background="whole")
    assert prepared.cutout.getextrema()[3] == (255, 255) and prepared.background == "whole" and not prepared.notes


@pytest.mark.parametrize("name", ["box", "crop"])
@pytest.mark.parametrize(
    "shares", [(0.5, 0.5, 0.5, 0.9), (0.6, 0.1, 0.4, 0.9), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, float("nan"), 1)]
)
def test_a_box_that_is_none_is_refused(name: str, shares: Box) -> None:
    with pytest.raises(InvalidInputError, match=f"The {name} is too small or outside"):
        Marks(**{name: shares})


def test_a_box_of_nothing_says_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match="brush over the object"):
        cut(Image.new("RGB", (64, 64)), Marks(box=(0.1, 0.1, 0.12, 0.12)))
