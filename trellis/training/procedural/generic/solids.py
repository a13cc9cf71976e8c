"""Random solids: two to eight simple parts, each attached to one before it."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import coat, one_of

_PARTS = 8
_TURNS = torch.tensor([[0.0, 0.0, 0.0], [90.0, 0.0, 0.0], [0.0, 90.0, 0.0]])  # a cone's axis: up, front, side
_SIDES = torch.tensor(
    [[0, 0, 1.0], [0, 0, 1.0], [1.0, 0, 0], [-1.0, 0, 0], [0, -1.0, 0], [0, 1.0, 0], [0, 0, -1.0], [0.8, 0, 0.7]]
)  # where a part is attached to another


def _part(
    b: Builder, half: Tensor, at: Tensor, material: Tensor, *, present: Tensor, mirror: str, round_: bool
) -> None:
    """A box or wedge, a cylinder or cone, and, `round_`, an ellipsoid or else a ring: one of them is there."""
    place = tuple(at.unbind(-1))
    a, d, h = half.unbind(-1)
    boxes, cones, others = one_of(b, 3)
    tilt = torch.where(b.chance(0.3), b.uniform(-35, 35), 0.0)
    wedge = torch.where(b.chance(0.4), b.uniform(-0.9, 0.3), 0.0)
    lean = torch.where(b.chance(0.2), b.uniform(-0.5, 0.5), 0.0) * a
    b.box((a, d, h), material, rounding=b.uniform(0.01, 0.12), grow=(wedge, wedge * b.uniform(0, 1)), shear=(lean, 0),
          at=place, rotate=(0, tilt, 0), mirror=mirror, present=present & boxes)  # fmt: skip
    turn = b.draws.choose(_TURNS)
    width = torch.minimum(a, d)
    b.cylinder(width, h, material, top=width * b.uniform(0.1, 1.3), at=place, rotate=list(turn.unbind(-1)),
               mirror=mirror, present=present & cones)  # fmt: skip
    if round_:
        b.ellipsoid((a, d, h), material, at=place, rotate=(0, tilt, 0), mirror=mirror, present=present & others)
    else:
        tube = width * b.uniform(0.2, 0.35)
        b.torus(width, tube, material, at=place, rotate=list(turn.unbind(-1)), mirror=mirror, present=present & others)


def _assembly(b: Builder, *, symmetric: bool) -> None:
    coats, count = [coat(b), coat(b), coat(b)], b.integer(2, _PARTS)
    zero = torch.zeros(b.count, 3)
    halves: list[Tensor] = []
    places: list[Tensor] = []
    for index in range(_PARTS):
        shrink = 0.55 if index == 0 else b.uniform(0.12, 0.42)
        half = torch.stack([b.uniform(0.5, 1.4) * shrink for _ in range(3)], -1)
        at = zero
        if index:
            parent = (
                (b.uniform(0, 1) ** 2 * torch.minimum(count, torch.tensor(float(index)))).long().clamp_max(index - 1)
            )
            rows = torch.arange(b.count)
            owner, middle = torch.stack(halves, 1)[rows, parent], torch.stack(places, 1)[rows, parent]
            side = b.draws.choose(_SIDES)
            slide = torch.stack([b.uniform(-0.6, 0.6) for _ in range(3)], -1) * owner * (side == 0)
            at = middle + side * (owner + half * b.uniform(0.4, 0.95)[:, None]) + slide
        mirror = "x" if symmetric and index % 2 == 1 else ""
        if mirror:
            at = torch.cat([at[:, :1].abs().maximum(half[:, :1] * 0.9), at[:, 1:]], 1)
        elif symmetric:
            at = torch.cat([torch.zeros(b.count, 1), at[:, 1:]], 1)
        halves.append(half)
        places.append(at)
        _part(b, half, at, coats[index % 3], present=count > index, mirror=mirror, round_=index % 3 != 2)


def solids(b: Builder) -> None:
    """Parts that know no symmetry."""
    _assembly(b, symmetric=False)
    b.sphere(b.uniform(0.2, 0.35), coat(b), at=(b.uniform(-0.4, 0.4), -0.5, b.uniform(-0.3, 0.4)),
             present=b.chance(0.3), operation="subtract")  # fmt: skip


def twins(b: Builder) -> None:
    """Parts in the middle, and pairs of them left and right."""
    _assembly(b, symmetric=True)
