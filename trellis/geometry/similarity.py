"""Similarities of space without rotation: a scale and a shift, kept so that they can be undone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError


@dataclass(frozen=True)
class Similarity:
    """x -> x * scale + shift; `scale` > 0, `shift` of three numbers."""

    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def apply(self, points: Tensor) -> Tensor:
        """Moved points [..., 3], computed in float64 and returned in the type of `points`."""
        return (points.double() * self.scale + self._shift(points)).to(points.dtype)

    def inverse(self) -> "Similarity":
        """The map back."""
        x, y, z = (-value / self.scale for value in self.shift)
        return Similarity(1 / self.scale, (x, y, z))

    def _shift(self, points: Tensor) -> Tensor:
        return torch.tensor(self.shift, dtype=torch.float64, device=points.device)


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
