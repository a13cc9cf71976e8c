"""The vocabulary families are written in: parts with batched parameters, packed to slots.

A family calls the same sequence of part methods whatever the numbers are, so a slot's kind is fixed by the family and
only its parameters differ from object to object. Design space: z up, front towards -y, about 2 units large.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.training.procedural.draws import Draws
from trellis.training.procedural.palettes import Palette, draw_palette, patterned, solid
from trellis.training.procedural.primitives import BOX, CAPSULE, CONE, DIMS, ELLIPSOID, FULL_TURN, TORUS, support

Number = float | Tensor
Vector = Sequence[Number]
OPERATIONS = ("union", "subtract", "paint")
SLOT_SIZE = 9 + 3 + DIMS + 5  # world-to-local rotation, centre, dims, rounding, blend radius, absence, spacing, count


@dataclass(frozen=True)
class SlotSpec:
    """What is fixed for a slot: primitive, operation, folds; `repeat` is -1: none, 0..2: array axis, 3: radial."""

    kind: int
    operation: str
    blended: bool
    mirror_x: bool
    mirror_y: bool
    repeat: int


@dataclass(frozen=True)
class Placement:
    """Where and how a part is put: everything but its shape.

    `at` is its centre, `rotate` degrees about x, then y, then z; `mirror` names the axes ("x", "y", "xy") that are
    folded (a part at positive coordinates appears on both sides); `array` is (local axis, spacing, count); `radial` is
    (count, distance): copies about the local z axis through `at`, the first along local +x; `present` masks the objects
    that have the part; `blend` is a smooth-union radius.
    """

    at: Vector = (0.0, 0.0, 0.0)
    rotate: Vector | None = None
    frame: Tensor | None = None
    mirror: str = ""
    array: tuple[int, Number, Number] | None = None
    radial: tuple[Number, Number] | None = None
    present: Tensor | None = None
    blend: Number | None = None
    operation: str = "union"


@dataclass(frozen=True)
class Slots:
    """Packed parts of B objects of one family, scaled to the unit cube."""

    specs: tuple[SlotSpec, ...]
    params: Tensor  # [B, S, SLOT_SIZE]
    materials: Tensor  # [B, S, MATERIAL_SIZE]
    scale: Tensor  # [B] world units per design unit
    offset: Tensor  # [B, 3] design point at the world origin

    def to(self, device: torch.device) -> "Slots":
        """The same parts on another device."""
        moved = (part.to(device) for part in (self.params, self.materials, self.scale, self.offset))
        return Slots(self.specs, *moved)


class Builder:
    """Collects the parts of a batch of objects of one family."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.count = len(draws)
        self.palette: Palette = draw_palette(draws)
        self._specs: list[SlotSpec] = []
        self._params: list[Tensor] = []
        self._materials: list[Tensor] = []
        self._low: list[Tensor] = []
        self._high: list[Tensor] = []

    # Numbers and materials -------------------------------------------------------------------------------------------
    def uniform(self, low: Number, high: Number) -> Tensor:
        return self.draws.uniform(low, high)

    def chance(self, probability: float) -> Tensor:
        return self.draws.chance(probability)

    def integer(self, low: int, high: int) -> Tensor:
        return self.draws.integer(low, high)

    def pick(self, *colors: Tensor) -> Tensor:
        """One of the given colours [B, 3] for each object."""
        index = (self.draws.unit() * len(colors)).long()
        return torch.stack(colors, 1)[torch.arange(self.count), index]

    def tone(self, red: float, green: float, blue: float, spread: float = 0.12) -> Tensor:
        """A fixed colour [B, 3], a little lighter or darker from object to object."""
        return (torch.tensor([red, green, blue]) * self.uniform(1 - spread, 1 + spread)[:, None]).clamp(0.02, 0.98)

    def plain(self, color: Tensor, gloss: float = 0.2) -> Tensor:
        return solid(color, gloss=gloss)

    def pattern(
        self,
        color: Tensor,
        second: Tensor,
        *,
        axis: int | None = 2,
        chance: float = 0.5,
        period: tuple[Number, Number] = (0.3, 0.7),
        gloss: float = 0.2,
        kinds: tuple[int, ...] | None = None,
    ) -> Tensor:
        """See `palettes.patterned`."""
        chosen = (1, 2, 3, 4, 5) if kinds is None else kinds
        return patterned(self.draws, color, second, kinds=chosen, axis=axis, chance=chance, period=period, gloss=gloss)

    # Parts -----------------------------------------------------------------------------------------------------------
    def box(
        self,
        half: Vector,
        material: Tensor,
        *,
        rounding: Number = 0.02,
        grow: Vector = (0.0, 0.0),
        shear: Vector = (0.0, 0.0),
        **placement: Any,
    ) -> None:
        """Box of half sizes `half`; `rounding` is taken off the sizes.

        `grow`: relative change of width and depth from the middle to the top (-1: a ridge); `shear`: shift of the
        top's centre against the middle.
        """
        a, b, h = (self._number(value) for value in half)
        smallest = torch.minimum(torch.minimum(a, b), h)
        radius = torch.minimum(self._number(rounding), 0.95 * smallest)
        a, b, h = a - radius, b - radius, h - radius
        slopes = [self._number(g) * size / h for g, size in zip(grow, (a, b))]
        shifts = [self._number(s) / h for s in shear]
        self._add(BOX, [a, b, h, *slopes, *shifts], material, radius, placement)

    def cylinder(
        self,
        radius: Number,
        half_height: Number,
        material: Tensor,
        *,
        top: Number | None = None,
        rounding: Number = 0.02,
        **placement: Any,
    ) -> None:
        """Capped cone along local z; `top` is the upper radius (default: a cylinder)."""
        bottom = self._number(radius)
        upper = bottom if top is None else self._number(top)
        h = self._number(half_height)
        r = torch.minimum(self._number(rounding), 0.9 * torch.minimum(h, torch.maximum(bottom, upper)))
        dims = [h - r, (bottom - r).clamp_min(0.0), (upper - r).clamp_min(0.0)]
        self._add(CONE, dims, material, r, placement)

    def capsule(
        self, half_height: Number, bottom: Number, material: Tensor, *, top: Number | None = None, **placement: Any
    ) -> None:
        """Round cone along local z between two spheres."""
        upper = bottom if top is None else top
        self._add(CAPSULE, [half_height, bottom, upper], material, 0.0, placement)

    def ellipsoid(self, half: Vector, material: Tensor, **placement: Any) -> None:
        self._add(ELLIPSOID, list(half), material, 0.0, placement)

    def sphere(self, radius: Number, material: Tensor, **placement: Any) -> None:
        self._add(CAPSULE, [0.0, radius, radius], material, 0.0, placement)

    def torus(
        self, ring: Number, tube: Number, material: Tensor, *, half_angle: Number = FULL_TURN, **placement: Any
    ) -> None:
        """Ring in the local xy plane; a `half_angle` below pi keeps an arc about local +y."""
        self._add(TORUS, [ring, tube, half_angle], material, 0.0, placement)

    def limb(
        self,
        start: Vector,
        end: Vector,
        radius: Number,
        material: Tensor,
        *,
        end_radius: Number | None = None,
        flat: bool = False,
        **placement: Any,
    ) -> None:
        """Round cone (or, `flat`, a cylinder) from one point to another."""
        a, b = self._vector(start), self._vector(end)
        axis = b - a
        length = axis.norm(dim=-1).clamp_min(1e-4)
        z = axis / length[:, None]
        helper = torch.where(z[:, 2:].abs() > 0.9, torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
        x = torch.nn.functional.normalize(torch.linalg.cross(helper, z), dim=-1)
        frame = torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)
        placement |= {"at": tuple(((a + b) / 2).unbind(-1)), "frame": frame}
        if flat:
            self.cylinder(radius, length / 2, material, top=end_radius, **placement)
        else:
            self.capsule(length / 2, radius, material, top=end_radius, **placement)

    def one_of(self, style: Tensor, *kinds: Callable[["Builder", Tensor], None]) -> None:
        """Kind 0, 1, ... of an object by `style` [B]; parts of different kinds share slots where their specs agree.

        A kind is called with the mask of its objects and must have all its parts `present` only there.
        """
        lists: tuple[list[Any], ...] = (self._specs, self._params, self._materials)
        start = len(self._specs)
        merged: list[Any] = []
        for index, kind in enumerate(kinds):
            here = style == index
            kind(self, here)
            parts = list(zip(*(values[start:] for values in lists)))
            for values in lists:
                del values[start:]
            merged = _share(merged, parts, here[:, None])
        for part in merged:
            for values, value in zip(lists, part):
                values.append(value)

    # Packing ---------------------------------------------------------------------------------------------------------
    def slots(self, *, fill: float = 0.95) -> Slots:
        """All parts, with the map that centres each object and scales its longest side to `fill`."""
        low, high = torch.stack(self._low).amin(0), torch.stack(self._high).amax(0)
        scale = fill / (high - low).amax(-1)
        return Slots(
            tuple(self._specs), torch.stack(self._params, 1), torch.stack(self._materials, 1), scale, (low + high) / 2
        )

    def _number(self, value: Number) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float32).expand(self.count)

    def _vector(self, values: Vector) -> Tensor:
        return torch.stack([self._number(value) for value in values], dim=-1)

    def _add(
        self, kind: int, dims: Sequence[Number], material: Tensor, rounding: Number, options: dict[str, object]
    ) -> None:
        place = Placement(**options)  # type: ignore[arg-type]
        if place.operation not in OPERATIONS:
            raise InvalidInputError(f"Unknown operation {place.operation!r}; use one of {', '.join(OPERATIONS)}.")
        sizes = self._vector([*dims, *[0.0] * (DIMS - len(dims))])
        radius = self._number(rounding)
        frame = place.frame if place.frame is not None else _euler(self._vector(place.rotate or (0.0, 0.0, 0.0)))
        centre = self._vector(place.at)
        repeat, spacing, copies = -1, self._number(0.0), self._number(1.0)
        if place.array is not None:
            repeat, spacing, copies = place.array[0], self._number(place.array[1]), self._number(place.array[2])
        elif place.radial is not None:
            repeat, copies, spacing = 3, self._number(place.radial[0]), self._number(place.radial[1])
        absent = torch.zeros(self.count) if place.present is None else torch.where(place.present, 0.0, 20.0)
        blend = self._number(0.0 if place.blend is None else place.blend).clamp_min(1e-4)
        numbers = torch.stack([radius, blend, absent, spacing, copies], -1)
        self._params.append(torch.cat([frame.transpose(1, 2).flatten(1), centre, sizes, numbers], -1))
        self._materials.append(material)
        mirror_x, mirror_y = "x" in place.mirror, "y" in place.mirror
        self._specs.append(SlotSpec(kind, place.operation, place.blend is not None, mirror_x, mirror_y, repeat))
        if place.operation == "union":
            self._measure(kind, sizes, radius, frame, centre, (mirror_x, mirror_y), repeat, spacing, copies, absent)

    def _measure(
        self,
        kind: int,
        sizes: Tensor,
        radius: Tensor,
        frame: Tensor,
        centre: Tensor,
        mirror: tuple[bool, bool],
        repeat: int,
        spacing: Tensor,
        copies: Tensor,
        absent: Tensor,
    ) -> None:
        """Add the part's axis-aligned box, exact but for blends and cuts, to the object's."""
        extents = []
        for sign in (-1.0, 1.0):
            columns = []
            for axis in range(3):
                local = sign * frame[:, axis, :]
                extent = support(kind, local, sizes, radius)
                if repeat in (0, 1, 2):
                    extent = extent + local[:, repeat].abs() * spacing * (copies - 1) / 2
                elif repeat == 3:
                    extent = _radial_support(kind, local, sizes, radius, copies, spacing)
                columns.append(extent)
            extents.append(torch.stack(columns, -1))
        low, high = centre - extents[0], centre + extents[1]
        for axis, folded in enumerate(mirror):
            if folded:
                reach = high[:, axis]
                low = low.index_copy(1, torch.tensor([axis]), -reach[:, None])
        missing = (absent > 0)[:, None]
        self._low.append(torch.where(missing, torch.inf, low))
        self._high.append(torch.where(missing, -torch.inf, high))


def _radial_support(
    kind: int, local: Tensor, sizes: Tensor, radius: Tensor, copies: Tensor, distance: Tensor
) -> Tensor:
    best = support(kind, local, sizes, radius) + distance * local[:, 0]
    for index in range(1, 12):
        angle = 2 * math.pi * index / copies
        s, c = angle.sin(), angle.cos()
        turned = torch.stack([c * local[:, 0] + s * local[:, 1], c * local[:, 1] - s * local[:, 0], local[:, 2]], -1)
        best = torch.where(
            index < copies, torch.maximum(best, support(kind, turned, sizes, radius) + distance * turned[:, 0]), best
        )
    return best


def _euler(degrees: Tensor) -> Tensor:
    """Local-to-world rotations [B, 3, 3]: about x first, then y, then z."""
    (sx, sy, sz), (cx, cy, cz) = degrees.deg2rad().sin().unbind(-1), degrees.deg2rad().cos().unbind(-1)
    rows = [
        cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz,
        cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz,
        -sy, sx * cy, cx * cy,
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def each_kind(kind: Tensor, *values: Number) -> Tensor:
    """The value of each object's kind: [B] from one number or [B] a kind."""
    rows = torch.stack([torch.as_tensor(value, dtype=torch.float32).expand_as(kind) for value in values])
    return rows.gather(0, kind.long()[None])[0]


def _share(first: list[Any], second: list[Any], mask: Tensor) -> list[Any]:
    """Both lists of parts (spec, *rows) in their orders, those of one spec shared: rows of `second` where `mask`."""
    n, m = len(first), len(second)
    best = [[0] * (m + 1) for _ in range(n + 1)]  # longest common subsequence of the rests
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            same = first[i][0] == second[j][0]
            best[i][j] = best[i + 1][j + 1] + 1 if same else max(best[i + 1][j], best[i][j + 1])
    merged, i, j = [], 0, 0
    while i < n and j < m:
        if first[i][0] == second[j][0]:
            rows = (torch.where(mask, b, a) for a, b in zip(first[i][1:], second[j][1:]))
            merged.append((first[i][0], *rows))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            merged.append(first[i])
            i += 1
        else:
            merged.append(second[j])
            j += 1
    return [*merged, *first[i:], *second[j:]]
