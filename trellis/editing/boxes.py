"""A box of a region, as people state it."""

from dataclasses import dataclass

from trellis.errors import InvalidInputError

MOST_BOXES = 32  # of one region


@dataclass(frozen=True)
class Box:
    """The points between `low` and `high` (x, y, z), in the frame of the source's GLB: y up, front towards +z.

    Raises InvalidInputError unless low < high on every axis.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.low) != 3 or len(self.high) != 3 or not all(a < b for a, b in zip(self.low, self.high)):
            raise InvalidInputError(
                f"A box goes from a lower to a higher corner on every axis, not from {list(self.low)} to "
                f"{list(self.high)}.",
                field="box",
            )
