"""Things on things and things in things: towers, piles, open boxes with content, cups in cups."""

import torch

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import coat, one_of

_LEVELS = 6


def stack(b: Builder) -> None:
    """Two to six boxes, discs, balls or rings on each other, equal, shrinking or at random, askew."""
    coats, count = [coat(b) for _ in range(3)], b.integer(2, _LEVELS)
    shrink, flat, mixed = b.uniform(0.7, 1.05), b.uniform(0.25, 0.9), b.chance(0.5)
    askew, twist, width = b.uniform(0, 0.25), b.uniform(-25, 25), b.uniform(0.4, 0.8)
    first = b.integer(0, 3)
    x, y, z = (torch.zeros(b.count) for _ in range(3))
    for index in range(_LEVELS):
        kind = torch.where(mixed, b.integer(0, 3), first)
        half = width * flat * b.uniform(0.6, 1.0)
        present, at = count > index, (x, y, z + half)
        deep, material = width * b.uniform(0.6, 1.0), coats[index % 3]
        b.box((width, deep, half * 1.01), material, rounding=b.uniform(0.01, 0.1), at=at,
              rotate=(0, 0, twist * index), present=present & (kind == 0))  # fmt: skip
        b.cylinder(width, half * 1.01, material, rounding=0.04, top=width * b.uniform(0.6, 1.0), at=at,
                   present=present & (kind == 1))  # fmt: skip
        b.ellipsoid((width, width, half * 1.08), material, at=at, present=present & (kind == 2))
        tube = torch.minimum(half * 1.05, width * 0.5)
        b.torus(width - tube, tube, material, at=(x, y, z + tube), present=present & (kind == 3))
        z = z + 2 * torch.where(kind == 3, tube * 0.97, half)
        x, y = x + askew * b.uniform(-1, 1), y + askew * b.uniform(-1, 1)
        width = (width * shrink * torch.where(mixed, b.uniform(0.8, 1.1), 1.0)).clamp(0.15, 1.0)
    b.sphere(width * 0.5, coats[1], at=(x, y, z), present=(count > _LEVELS - 0.5) & b.chance(0.4))


def pile(b: Builder) -> None:
    """A ring of balls, boxes or rolls with more of them above, on a plate or not."""
    coats, count = [coat(b), coat(b)], b.integer(3, 6)
    size, kinds = b.uniform(0.22, 0.34), one_of(b, 3)
    sine = (torch.pi / count).sin()
    ring, z, present = size / sine * 0.97, size, torch.ones(b.count, dtype=torch.bool)
    for level, (number, distance) in enumerate(((count, ring), ((count - 1).clamp_max(3), size * 1.1), (None, None))):
        if level:
            present = present & b.chance(0.7)
        radial = None if number is None else (number, distance)
        turned = (0, 0, 40 * level)
        at, material = (0, 0, z), coats[level % 2]
        b.sphere(size, material, at=at, rotate=turned, radial=radial, present=present & kinds[0])
        b.box((size * 0.9, size * 0.8, size * 0.9), material, rounding=0.05, at=at, rotate=turned, radial=radial,
              present=present & kinds[1])  # fmt: skip
        b.cylinder(size * 0.9, size * 0.9, material, rounding=0.05, at=at, rotate=turned, radial=radial,
                   present=present & kinds[2])  # fmt: skip
        z = z + size * b.uniform(1.3, 1.6)
    b.cylinder(ring + size * 1.2, 0.05, coats[1], at=(0, 0, -0.03), present=b.chance(0.5))


def nest(b: Builder) -> None:
    """An open box or round tub with balls, rods or books in it, or smaller ones of its kind."""
    coats, wall = [coat(b), coat(b), coat(b)], b.uniform(0.06, 0.1)
    w, d, h = b.uniform(0.5, 0.9), b.uniform(0.4, 0.8), b.uniform(0.25, 0.8)
    square, tub = one_of(b, 2)
    nested, balls, rods, books = one_of(b, 4)
    size, rise = 1.0, torch.zeros(b.count)
    for index in range(3):
        present = nested | torch.tensor(index == 0)
        inner_w, inner_d = w * size - wall, d * size - wall
        at, hole = (0, 0, rise + h), (0, 0, rise + h + wall * 1.5)
        flare = b.uniform(0.0, 0.25)
        b.box((w * size, d * size, h), coats[index], at=at, grow=(flare, flare), present=present & square)
        b.cylinder(w * size * (1 - flare), h, coats[index], top=w * size, at=at, present=present & tub)
        b.box((inner_w, inner_d, h), coats[index], at=hole, grow=(flare, flare), present=present & square,
              operation="subtract")  # fmt: skip
        b.cylinder(inner_w * (1 - flare), h, coats[index], top=inner_w, at=hole, present=present & tub,
                   operation="subtract")  # fmt: skip
        size, rise = size * 0.72, rise + h * b.uniform(0.4, 0.7)
    radius = torch.minimum(w, d) * b.uniform(0.28, 0.42)
    b.sphere(radius, coats[1], at=(0, 0, 1.6 * h), radial=(b.integer(2, 5), radius * 1.15), present=balls)
    b.sphere(radius, coats[2], at=(0, 0, 1.9 * h), present=balls)
    reach = torch.minimum(w, d) * 0.5
    for index in range(4):
        x, y = reach * b.uniform(-0.8, 0.8), reach * b.uniform(-0.8, 0.8)
        top = (x * 1.5, y * 1.5, 2 * h + b.uniform(0.3, 1.0))
        b.limb((x, y, 0.2), top, b.uniform(0.05, 0.1), coats[index % 3], flat=True, present=rods & b.chance(0.8))
        thick, lean = w * b.uniform(0.12, 0.2), torch.where(b.chance(0.3), b.uniform(-12, 12), 0.0)
        high = h * b.uniform(0.9, 1.5)
        b.box((thick, d * 0.7, high), coats[index % 3], rounding=0.02, at=(w * (0.48 * index - 0.72), 0, high + 0.1),
              rotate=(0, lean, 0), present=books)  # fmt: skip
