"""Thin things: plates (shelves, cards, fans, frames) and wires (bent ones, rings, springs, cages)."""

import math

import torch

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import coat, one_of


def plates(b: Builder) -> None:
    """Boards on boards: a rack, a folded sheet, crossed sheets, a fan, or a framed picture."""
    thick, coats = b.uniform(0.025, 0.06), [coat(b, chance=0.6), coat(b)]
    rack, folded, crossed, fan, framed = one_of(b, 5)
    w, d, h = b.uniform(0.4, 1.0), b.uniform(0.2, 0.6), b.uniform(0.4, 1.1)
    closed = b.chance(0.5)
    b.box((thick, d, h), coats[0], rounding=0.01, at=(w, 0, 0), mirror="x", present=rack)
    shelves = b.integer(2, 5)
    b.box((w, d, thick), coats[1], rounding=0.01, array=(2, 2 * (h - thick) / (shelves - 1), shelves), present=rack)
    b.box((w, thick, h), coats[0], rounding=0.01, at=(0, d, 0), present=rack & closed)
    b.box(
        (thick, d, h * 0.95), coats[0], rounding=0.01, at=(w * b.uniform(-0.5, 0.5), 0, 0), present=rack & b.chance(0.4)
    )
    angle, tilt = b.uniform(20, 70), b.uniform(-25, 25)
    s, c = angle.deg2rad().sin(), angle.deg2rad().cos()
    b.box(
        (w, d, thick), coats[0], rounding=0.01, at=(w * c, 0, w * s), rotate=(0, -angle, 0), mirror="x", present=folded
    )
    b.box((w * 0.6, d, thick), coats[1], rounding=0.01, at=(2 * w * c + 0.6 * w, 0, 2 * w * s), mirror="x",
          present=folded & b.chance(0.5))  # fmt: skip
    b.box((w, thick, h), coats[0], rounding=0.01, rotate=(0, 0, angle), present=crossed)
    b.box((w * b.uniform(0.5, 1.0), thick, h * b.uniform(0.5, 1.0)), coats[1], rounding=0.01,
          rotate=(tilt, 0, angle + 90), at=(0, 0, h * b.uniform(-0.3, 0.3)), present=crossed)  # fmt: skip
    b.cylinder(b.uniform(0.5, 0.9), thick, coats[1], at=(0, 0, -h), present=crossed & b.chance(0.5))
    blades = b.integer(3, 9)
    b.box((w * 0.5, d * 0.5, thick), coats[0], rounding=0.01, rotate=(90, 0, 0), radial=(blades, w * 0.6), present=fan)
    b.cylinder(b.uniform(0.1, 0.25), thick * 2, coats[1], rotate=(90, 0, 0), present=fan)
    b.limb((0, 0, 0), (0, 0.1, -1.2), thick * 1.3, coats[1], present=fan & closed)
    b.torus(w * 1.1, thick * 1.2, coats[1], rotate=(90, 0, 0), present=fan & b.chance(0.4))
    b.box((w, thick * 1.5, h), coats[1], rounding=0.02, rotate=(-tilt.abs(), 0, 0), present=framed)
    b.box((w * 0.82, thick * 6, h * 0.82), coats[0], rounding=0.01, rotate=(-tilt.abs(), 0, 0), present=framed,
          operation="paint")  # fmt: skip
    empty = framed & b.chance(0.4)
    b.box((w * 0.82, 0.5, h * 0.82), coats[0], rounding=0.01, rotate=(-tilt.abs(), 0, 0), present=empty,
          operation="subtract")  # fmt: skip
    b.limb((0, 0.05, 0), (0, 0.7, -h), thick, coats[0], present=framed & closed)


def wires(b: Builder) -> None:
    """A bent wire, a spring of rings, a cage of bars, or legs under a ring."""
    r, coats = b.uniform(0.03, 0.065), [coat(b), coat(b), coat(b, chance=0.1)]
    bent, spring, cage, stand = one_of(b, 4)
    point = torch.zeros(b.count, 3)
    heading = torch.stack([b.uniform(-1, 1), b.uniform(-0.6, 0.6), b.uniform(0.2, 1)], -1)
    count, wander = b.integer(3, 7), b.uniform(0.4, 1.4)
    for index in range(7):
        heading = heading + wander[:, None] * torch.stack([b.uniform(-1, 1), b.uniform(-1, 1), b.uniform(-1, 1)], -1)
        end = point + torch.nn.functional.normalize(heading, dim=-1) * b.uniform(0.25, 0.6)[:, None]
        present = bent & (count > index)
        b.limb(list(point.unbind(-1)), list(end.unbind(-1)), r, coats[0], present=present)
        point = torch.where(present[:, None], end, point)
    b.sphere(b.uniform(0.08, 0.2), coats[1], present=bent & b.chance(0.5))
    b.sphere(b.uniform(0.08, 0.2), coats[1], at=list(point.unbind(-1)), present=bent & b.chance(0.5))
    b.box((0.5, 0.35, 0.04), coats[2], at=(0, 0, -0.03), present=bent & b.chance(0.4))
    turns, size, pitch = b.integer(3, 8), b.uniform(0.25, 0.7), b.uniform(0.14, 0.3)
    lean = (b.uniform(4, 15), 0, 0)
    b.torus(size, r, coats[0], array=(2, pitch, turns), rotate=lean, present=spring)
    b.cylinder(size * 1.2, 0.05, coats[1], at=(0, 0, pitch * turns / 2), present=spring & b.chance(0.5))
    b.cylinder(size * 1.2, 0.05, coats[1], at=(0, 0, -pitch * turns / 2), present=spring & b.chance(0.5))
    b.capsule(pitch * turns / 2, r, coats[0], radial=(b.integer(1, 4), size), present=spring)
    h, bars = b.uniform(0.4, 0.9), b.integer(4, 10)
    b.capsule(h, r, coats[0], radial=(bars, size), present=cage)
    b.torus(size, r * 1.2, coats[1], at=(0, 0, h), present=cage)
    b.torus(size, r * 1.2, coats[1], at=(0, 0, -h), present=cage)
    b.torus(size, r, coats[1], present=cage & b.chance(0.5))
    b.cylinder(size, 0.06, coats[2], at=(0, 0, -h), present=cage & b.chance(0.5))
    b.torus(size, r, coats[0], half_angle=math.pi / 2, at=(0, 0, h), rotate=(90, 0, 0), present=cage & b.chance(0.5))
    b.sphere(size * b.uniform(0.2, 0.6), coats[2], present=cage & b.chance(0.3))
    legs, spread = b.integer(3, 6), b.uniform(-25, 25)
    b.capsule(h, r, coats[0], at=(0, 0, -h), rotate=(0, spread, 0), present=stand & (legs < 3.5))
    b.cylinder(r, h, coats[0], at=(0, 0, -h), radial=(legs, size * 0.8), present=stand)
    b.torus(size, r * 1.3, coats[1], present=stand)
    b.cylinder(size, 0.05, coats[2], present=stand & b.chance(0.6))
    b.torus(size * 0.7, r, coats[1], at=(0, 0, -h), present=stand & b.chance(0.6))
    b.torus(
        size,
        r,
        coats[0],
        half_angle=1.9,
        at=(0, size * 0.7, size * 0.3),
        rotate=(80, 0, 0),
        present=stand & b.chance(0.4),
    )
