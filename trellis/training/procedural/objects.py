"""Batches of procedural objects: exact signed distance, colour and normal as functions of points.

Seeds below `HELD_OUT_SEEDS` are for training; evaluation and examples use seeds from there on.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.training.procedural import fused
from trellis.training.procedural.builder import Builder, Slots
from trellis.training.procedural.draws import Draws, hash_integers
from trellis.training.procedural.families import FAMILIES
from trellis.training.procedural.generic import GENERIC

TRAINING_SEEDS = range(0, 1 << 31)
HELD_OUT_SEEDS = range(1 << 31, 1 << 32)
PROGRAMS = FAMILIES | GENERIC
_NORMAL_STEP = 1e-3
_TETRAHEDRON = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class ObjectGroup:
    """Objects of one family: their rows in the batch and their packed parts."""

    family: str
    rows: Tensor
    slots: Slots


@dataclass(frozen=True)
class ObjectBatch:
    """B objects in [-0.5, 0.5]^3, z up, front towards -y; `family` [B] indexes `family_names`."""

    seeds: Tensor
    family: Tensor
    family_names: tuple[str, ...]
    groups: tuple[ObjectGroup, ...]
    chunk_points: int

    def __len__(self) -> int:
        return self.seeds.shape[0]

    @property
    def device(self) -> torch.device:
        return self.groups[0].rows.device

    def names(self) -> list[str]:
        """Family name of every object."""
        return [self.family_names[index] for index in self.family.tolist()]

    def select(self, rows: Sequence[int] | Tensor | slice) -> "ObjectBatch":
        """The batch of the given rows, in that order."""
        numbers = torch.arange(len(self))
        chosen = numbers[rows] if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64).cpu()
        place = torch.full((len(self),), -1, dtype=torch.int64)
        family = self.family[chosen]
        groups = []
        for group in self.groups:
            new_rows = (family == self.family_names.index(group.family)).nonzero().squeeze(1)
            if len(new_rows) == 0:
                continue
            place[group.rows.cpu()] = torch.arange(len(group.rows))
            inner = place[chosen[new_rows]].to(self.device)
            groups.append(ObjectGroup(group.family, new_rows.to(self.device), take_slots(group.slots, inner)))
        return replace(self, seeds=self.seeds[chosen], family=family, groups=tuple(groups))

    def split(self, size: int) -> Iterator["ObjectBatch"]:
        """Consecutive batches of at most `size` objects."""
        return (self.select(slice(start, start + size)) for start in range(0, len(self), size))

    def by_family(self, size: int) -> Iterator[tuple[Tensor, "ObjectBatch"]]:
        """Parts of at most `size` objects with their rows (CPU), families side by side.

        A family's parts cost the same few kernels however many objects there are, so mixed parts would be slow.
        """
        order = torch.argsort(self.family, stable=True)
        return ((rows, self.select(rows)) for rows in order.split(size))

    def sdf(self, points: Tensor, *, corrected: bool = False) -> Tensor:
        """Signed distance [B, M] in world units, negative inside, at `points` [B, M, 3].

        `corrected` divides by the gradient's length (kept within 0.5..2), a true distance to first order.
        """
        if not corrected:
            return self._evaluate(points, fused.distances)
        gradient, value = self.gradient(points)
        return value / gradient.norm(dim=-1).clamp(0.5, 2.0)

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient [B, M, 3] and value [B, M] of the signed distance, by four differences on a tetrahedron."""
        total = torch.zeros_like(points)
        mean = torch.zeros_like(points[..., 0])
        for corner in _TETRAHEDRON:
            direction = torch.tensor(corner, device=points.device)
            value = self.sdf(points + _NORMAL_STEP * direction)
            total += value[..., None] * direction
            mean += value / 4
        return total / (4 * _NORMAL_STEP), mean

    def normal(self, points: Tensor) -> Tensor:
        """Unit outward direction [B, M, 3] at points near the surface."""
        return torch.nn.functional.normalize(self.gradient(points)[0], dim=-1)

    def color(self, points: Tensor) -> Tensor:
        """Colour [B, M, 3] in [0, 1] (sRGB albedo) of the part nearest to each point."""
        return self.appearance(points)[..., :3]

    def appearance(self, points: Tensor) -> Tensor:
        """Colour and gloss [B, M, 4] of the part nearest to each point."""

        def joined(slots: Slots, part: Tensor) -> Tensor:
            color, gloss = fused.surface_colors(slots, part)
            return torch.cat([color, gloss[..., None]], -1)

        return self._evaluate(points, joined, width=4)

    def project(self, points: Tensor, *, steps: int = 2) -> Tensor:
        """Points [B, M, 3] moved onto the surface by Newton steps along the gradient (at most 0.1 each)."""
        for _ in range(steps):
            gradient, value = self.gradient(points)
            squared = (gradient * gradient).sum(-1).clamp_min(0.25)
            points = points - (value / squared).clamp(-0.1, 0.1)[..., None] * gradient
        return points

    def trace(
        self, eyes: Tensor, rays: Tensor, *, near: Tensor, far: Tensor, steps: int, reach: float
    ) -> tuple[Tensor, Tensor] | None:
        """Distances [B, M] along `rays` [B, M, 3] between `near` and `far` [B, M], and which rays hit, in one launch.

        None where the device has no kernels for it.
        """
        kernels = fused.kernels_for(self.device)
        if kernels is None:
            return None
        t, hit = near.clone(), torch.zeros_like(near, dtype=torch.bool)
        for group in self.groups:
            rows = group.rows
            t[rows], hit[rows] = kernels.trace(
                group.slots, eyes[rows], rays[rows], near=near[rows], far=far[rows], steps=steps, reach=reach
            )
        return t, hit

    def _evaluate(
        self, points: Tensor, function: Callable[[Slots, Tensor], Tensor], *, width: int | None = None
    ) -> Tensor:
        """Run `function` over families in chunks of about `chunk_points` points."""
        size = points.shape[:2] if width is None else (*points.shape[:2], width)
        result = torch.empty(size, device=points.device)
        for group in self.groups:
            per_chunk = max(1, self.chunk_points // max(1, points.shape[1]))
            for start in range(0, len(group.rows), per_chunk):
                rows = group.rows[start : start + per_chunk]
                slots = take_slots(group.slots, slice(start, start + per_chunk))
                for low in range(0, points.shape[1], self.chunk_points):
                    part = slice(low, low + self.chunk_points)
                    result[rows, part] = function(slots, points[rows, part].float())
        return result


def take_slots(slots: Slots, rows: Tensor | slice) -> Slots:
    """The packed parts of some of the objects."""
    return replace(
        slots, params=slots.params[rows], materials=slots.materials[rows], scale=slots.scale[rows],
        offset=slots.offset[rows],
    )  # fmt: skip


def sample_objects(
    seeds: Sequence[int] | Tensor, families: Sequence[str] | None = None, *, device: torch.device | str = "cpu"
) -> ObjectBatch:
    """Draw one object a seed from `families` (default: FAMILIES), on the CPU so that it is the same everywhere.

    They are names of PROGRAMS; which one it is follows from the seed and the list. Raises InvalidInputError for an
    unknown family or no seeds.
    """
    names = tuple(families) if families is not None else tuple(FAMILIES)
    unknown = sorted(set(names) - set(PROGRAMS))
    if unknown or not names:
        raise InvalidInputError(f"Unknown families {unknown}; choose from {', '.join(PROGRAMS)}.")
    numbers = seeds.cpu().long() if isinstance(seeds, Tensor) else torch.tensor(list(seeds), dtype=torch.int64)
    if len(numbers) == 0:
        raise InvalidInputError("No seeds given; pass at least one.")
    target = torch.device(device)
    family = (hash_integers(numbers, 1) >> 33).remainder(len(names))
    groups = []
    for index, name in enumerate(names):
        rows = (family == index).nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        slots = _build(name, numbers[rows])
        groups.append(ObjectGroup(name, rows.to(target), slots.to(target)))
    # Points evaluated at once: few enough for a CPU's cache, enough to fill an accelerator.
    chunk = 1 << 15 if target.type == "cpu" else 1 << 22
    return ObjectBatch(numbers, family, names, tuple(groups), chunk)


def _build(name: str, seeds: Tensor) -> Slots:
    builder = Builder(Draws(seeds, zlib.crc32(name.encode())))
    PROGRAMS[name](builder)
    return builder.slots()
