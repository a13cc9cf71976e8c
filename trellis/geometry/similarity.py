"""Similarities of space without other rotations than quarter turns about z, kept so that they can be undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trellis.errors import InvalidInputError


@dataclass(frozen=True)
class Similarity:
    """x -> turned(x) * scale + shift; `scale` > 0, `shift` of three numbers, `turns` quarter turns about z (0 to 3).

    A turn leads from x to y.
    """

    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turns: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Similarity":
        """What `dataclasses.asdict` made plain, also by way of JSON."""
        x, y, z = values.get("shift", (0.0, 0.0, 0.0))
        return cls(float(values.get("scale", 1.0)), (x, y, z), int(values.get("turns", 0)))

    def apply(self, points: Tensor) -> Tensor:
        """Moved points [..., 3], computed in float64 and returned in the type of `points`."""
        return (quarter_turned(points.double(), self.turns) * self.scale + self._shift(points)).to(points.dtype)

    def inverse(self) -> "Similarity":
        """The map back."""
        back = quarter_turned(torch.tensor(self.shift, dtype=torch.float64), -self.turns)
        x, y, z = (-value / self.scale for value in back.tolist())
        return Similarity(1 / self.scale, (x, y, z), -self.turns % 4)

    def _shift(self, points: Tensor) -> Tensor:
        return torch.tensor(self.shift, dtype=torch.float64, device=points.device)


IDENTITY = Similarity()


def quarter_turned(points: Tensor, turns: int) -> Tensor:
    """Points [..., 3] after so many quarter turns about z, each from x to y."""
    x, y, z = points.unbind(-1)
    return torch.stack([(x, y, z), (-y, x, z), (-x, -y, z), (y, -x, z)][turns % 4], -1)


def fit_to_cube(points: Tensor, *, side: float = 1.0) -> Similarity:
    """The map that centres the box around `points` [n, 3] at the origin and makes its longest side `side`.

    Raises InvalidInputError when there are no points, when one is not finite, or when all are the same.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InvalidInputError(f"A box needs points [n, 3], not {list(points.shape)}.")
    if not side > 0:
        raise InvalidInputError(f"The side of the cube must be positive, not {side}.")
    exact = points.double()
    low, high = exact.amin(0), exact.amax(0)
    longest = float((high - low).amax())
    if not torch.isfinite(exact).all():
        raise InvalidInputError("A point is not finite, so there is no box around the points.")
    if longest <= 0:
        raise InvalidInputError("All points are the same, so they cannot be scaled to a size.")
    scale = side / longest
    x, y, z = (-(low + high) / 2 * scale).tolist()
    return Similarity(scale, (x, y, z))
