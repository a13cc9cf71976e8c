"""Objects that are one outside of a box and another inside of it: what an edit of a part should make."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.training.procedural.objects import ObjectBatch


@dataclass(frozen=True)
class JoinedBatch(ObjectBatch):
    """The objects of the batch outside of `boxes` [B, 2, 3] (lower and upper corner), those of `inner` inside."""

    inner: ObjectBatch
    boxes: Tensor

    @classmethod
    def create(cls, outer: ObjectBatch, inner: ObjectBatch, boxes: Tensor) -> "JoinedBatch":
        """Join objects of the same families, one to one."""
        assert torch.equal(outer.family, inner.family) and len(boxes) == len(outer)
        return cls(outer.seeds, outer.family, outer.family_names, outer.groups, outer.chunk_points, inner, boxes)

    def select(self, rows: Sequence[int] | Tensor | slice) -> "JoinedBatch":
        """The batch of the given rows, in that order."""
        outer = ObjectBatch(self.seeds, self.family, self.family_names, self.groups, self.chunk_points).select(rows)
        place = rows if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64)
        return self.create(outer, self.inner.select(rows), self.boxes[place])

    def sdf(self, points: Tensor, *, corrected: bool = False) -> Tensor:
        """Signed distance [B, M]; a bound of it where the two meet."""
        if corrected:
            return super().sdf(points, corrected=True)
        box = self._box_distance(points)
        return torch.minimum(torch.maximum(super().sdf(points), -box), torch.maximum(self.inner.sdf(points), box))

    def appearance(self, points: Tensor) -> Tensor:
        """Colour and gloss [B, M, 4] of the part nearest to each point."""
        inside = (self._box_distance(points) < 0)[..., None]
        return torch.where(inside, self.inner.appearance(points), super().appearance(points))

    def trace(
        self, eyes: Tensor, rays: Tensor, *, near: Tensor, far: Tensor, steps: int, reach: float
    ) -> tuple[Tensor, Tensor] | None:
        """None: rays are followed by `sdf`."""
        return None

    def _box_distance(self, points: Tensor) -> Tensor:
        """Distance [B, M] to the boxes, negative inside."""
        low, high = self.boxes[:, None, 0], self.boxes[:, None, 1]
        away = torch.maximum(low - points, points - high)
        return away.clamp_min(0).norm(dim=-1) + away.amax(-1).clamp_max(0)
