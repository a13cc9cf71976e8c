"""Where an edit is meant, and how its picture was made, as clients and the command line state them."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from trellis.editing.boxes import MOST_BOXES
from trellis.editing.boxes import Box as EditedBox
from trellis.errors import InvalidInputError

LONGEST_BOX = 400  # characters of six numbers
LARGEST_WINDOW = 16384  # pixels
BOXES_FORM = f"1 to {MOST_BOXES} boxes [[x, y, z], [x, y, z]], the first corner below the second on every axis"


def _tuples(value: object, depth: int = 3) -> object:
    """Boxes, corners and numbers in lists of JSON as tuples."""
    if depth == 0 or not isinstance(value, (list, tuple)):
        return value
    return tuple(_tuples(item, depth - 1) for item in value)


def _in_order(box: "Box") -> "Box":
    EditedBox(*box)  # raises a ValueError
    return box


def _square(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    if not 0 < right - left == bottom - top <= LARGEST_WINDOW:
        raise ValueError("the box of a view is a square from left top to right bottom")
    return box


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=1, le=16384)]
_Edge = Annotated[int, Field(ge=-65536, le=65536)]  # a window may reach beyond its picture
_Row = Annotated[list[_Number], Field(min_length=3, max_length=4)]
_Matrix = Annotated[list[_Row], Field(min_length=3, max_length=4)]
_Corner = tuple[_Number, _Number, _Number]
Box = tuple[_Corner, _Corner]
Boxes = Annotated[
    tuple[Annotated[Box, AfterValidator(_in_order)], ...],
    Field(min_length=1, max_length=MOST_BOXES),
    BeforeValidator(_tuples),
]


class PictureFrame(BaseModel):
    """The frame of a picture: its size (width, height) in pixels, the square box (left, top, right, bottom) that the
    networks see of it, and the camera of that, if it is known (`trellis.conditioning.view`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[_Pixels, _Pixels]
    box: Annotated[tuple[_Edge, _Edge, _Edge, _Edge], AfterValidator(_square)]
    camera: Annotated[dict[str, _Matrix], Field(max_length=2)] | None = None


def read_box(text: str) -> list[Sequence[float]]:
    """A box that is stated as "x,y,z,x,y,z"; raises InvalidInputError naming the field."""
    try:
        x, y, z, *rest = (float(part) for part in text[:LONGEST_BOX].split(","))
        a, b, c = rest
    except ValueError as error:
        raise InvalidInputError(f"box must be six numbers x,y,z,x,y,z, not {text[:80]!r}.", field="box") from error
    return [(x, y, z), (a, b, c)]
