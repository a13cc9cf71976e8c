"""Food of several kinds: burger."""

import math
from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def burger(b: Builder) -> None:
    """Food: burger in layers, hot dog, pizza slice with its tip to the front, doughnut, pie (whole or cut)."""
    kind = b.integer(0, 4)
    bread = b.tone(0.86, 0.58, 0.28)
    soft, crumb = b.plain(bread, 0.3), b.plain(bread, 0.4)
    b.one_of(kind, partial(_layers, bread=b.plain(bread, 0.5)), partial(_hot_dog, bread=crumb),
             partial(_pizza, bread=soft), partial(_doughnut, dough=soft),
             partial(_pie, crust=crumb, bread=bread))  # fmt: skip


def _layers(b: Builder, here: Tensor, bread: Tensor) -> None:
    """Bun, lettuce, one to three patties, cheese, tomato, bun with seeds; sometimes a flag on a stick."""
    p = b.palette
    meat, cheese = b.plain(b.tone(0.36, 0.2, 0.12)), b.plain(b.tone(0.98, 0.76, 0.2), 0.4)
    salad, tomato = b.plain(b.pick(b.tone(0.42, 0.68, 0.2), p.leaf), 0.3), b.plain(b.tone(0.85, 0.18, 0.12), 0.5)
    r, h = b.uniform(0.6, 0.72), b.uniform(0.1, 0.16)
    b.cylinder(r * 0.92, h, bread, top=r, rounding=0.08, at=(0, 0, h), present=here)
    z, many = 2 * h, b.integer(1, 3)
    leafy, has_tomato = b.chance(0.8), b.chance(0.6)
    n = b.integer(7, 10)
    b.cylinder(r * 1.02, 0.065, salad, at=(0, 0, z + 0.04), present=here & leafy)
    b.ellipsoid((0.2, 0.26, 0.08), salad, at=(0, 0, z + 0.03), radial=(n, r * 0.98), present=here & leafy)
    z = z + torch.where(leafy, 0.1, 0.0)
    for layer in range(3):
        has, thick = many > layer, b.uniform(0.09, 0.14)
        b.cylinder(r * b.uniform(1.0, 1.08), thick, meat, rounding=0.06, at=(0, 0, z + thick), present=here & has)
        z = z + torch.where(has, 2 * thick, 0.0)
        sheet = has & b.chance(0.75)
        b.box((r * 0.84, r * 0.84, 0.055), cheese, rotate=(0, 0, 20 + 45 * layer), at=(0, 0, z + 0.03),
              present=here & sheet)  # fmt: skip
        z = z + torch.where(sheet, 0.075, 0.0)
    b.cylinder(r * 0.98, 0.06, tomato, at=(0, 0, z + 0.04), present=here & has_tomato)
    z = z + torch.where(has_tomato, 0.09, 0.0)
    dome = b.uniform(0.3, 0.5)
    # The dome's lower half hides in a flat round: an ellipsoid alone would dip into the layers.
    b.cylinder(r * 0.99, 0.1, bread, rounding=0.07, at=(0, 0, z + 0.09), present=here)
    b.ellipsoid((r, r, dome), bread, at=(0, 0, z + 0.12), present=here)
    seed = b.plain(b.pick(p.light, b.tone(0.97, 0.9, 0.7)), 0.4)
    seeds, top = here & b.chance(0.7), z + 0.1
    for count, place, height in ((8, 0.72, 0.7), (5, 0.4, 0.92), (1, 0.0, 1.0)):
        b.ellipsoid(
            (0.055, 0.075, 0.055), seed, at=(0, 0, top + dome * height), radial=(count, r * place), present=seeds
        )
    flag, peak = here & ~seeds, top + dome
    b.cylinder(0.055, 0.25, b.plain(p.wood), at=(0, 0, peak + 0.2), present=flag)
    b.box((0.17, 0.055, 0.12), b.plain(b.pick(p.main, p.accent)), at=(0.16, 0, peak + 0.34), present=flag)


def _hot_dog(b: Builder, here: Tensor, bread: Tensor) -> None:
    """Two halves of a bun along x, a sausage that is longer, a zigzag of sauce; on a tray or with salad."""
    p = b.palette
    sausage = b.plain(b.tone(0.72, 0.3, 0.16), 0.7)
    sauce = b.plain(b.pick(b.tone(0.96, 0.78, 0.12), b.tone(0.8, 0.1, 0.08), p.light), 0.6)
    length, r, s = b.uniform(0.55, 0.7), b.uniform(0.22, 0.28), b.uniform(0.15, 0.19)
    b.capsule(length, r, bread, rotate=(0, 90, 0), at=(0, r * 0.85, r), mirror="y", present=here)
    b.box((length, r * 0.8, r * 0.5), bread, rounding=0.05, at=(0, 0, r * 0.55), present=here)
    z = r * b.uniform(1.45, 1.75)
    b.box(
        (length, r * 0.7, 0.07), b.plain(p.leaf, 0.3), rounding=0.05, at=(0, 0, r * 1.6), present=here & b.chance(0.4)
    )
    b.capsule(length + b.uniform(0.1, 0.22), s, sausage, rotate=(0, 90, 0), at=(0, 0, z), present=here)
    n, step = b.integer(3, 5), length * 2 / 5
    wave = here & b.chance(0.8)
    b.capsule(length * 0.8, 0.055, sauce, rotate=(0, 90, 0), at=(0, 0, z + s), present=wave)
    b.sphere(0.085, sauce, at=(-step * 0.25, -0.06, z + s * 0.92), array=(0, step, n), present=wave)
    b.sphere(0.085, sauce, at=(step * 0.25, 0.06, z + s * 0.92), array=(0, step, n), present=wave)
    tray = b.pattern(b.pick(p.main, p.light, p.accent), p.light, axis=0, chance=0.7, kinds=(1,), period=(0.2, 0.35))
    b.box((length + r * 0.8, r * 1.75, r * 0.45), tray, rounding=0.02, grow=(0.05, 0.15), at=(0, 0, r * 0.3),
          present=here & b.chance(0.4))  # fmt: skip


def _pizza(b: Builder, here: Tensor, bread: Tensor) -> None:
    """A wedge with its tip to the front and a round crust behind; salami, olives, leaves."""
    p = b.palette
    cheese = b.pattern(b.tone(0.97, 0.8, 0.36), b.tone(0.88, 0.42, 0.18), chance=0.4, kinds=(5,), axis=None,
                       period=(0.3, 0.5), gloss=0.4)  # fmt: skip
    length, wedge, t = b.uniform(1.5, 1.8), b.uniform(0.36, 0.5), b.uniform(0.06, 0.09)
    wide, turn = length * wedge.tan() / 2, 48
    s, c = math.sin(math.radians(turn)), math.cos(math.radians(turn))

    def spot(x: float | Tensor, along: Tensor, up: float | Tensor) -> tuple[float | Tensor, Tensor, Tensor]:
        """A place on the tilted slice: across, from its middle to the crust, out of its face."""
        return x, along * c - up * s, along * s + up * c

    none = torch.zeros(b.count)
    for half, material, z in ((t, bread, t), (0.06, cheese, 2 * t + 0.04)):
        b.box((wide, half, length / 2), material, rounding=0.02, rotate=(turn - 90, 0, 0), grow=(0.93, 0),
              at=spot(0.0, none, z), present=here)  # fmt: skip
    b.torus(length, b.uniform(0.11, 0.16), bread, half_angle=wedge, rotate=(turn, 0, 0),
            at=spot(0.0, -length / 2, 2 * t + 0.02), present=here)  # fmt: skip
    meat, top = b.plain(b.pick(b.tone(0.72, 0.16, 0.1), p.accent), 0.5), 2 * t + 0.1
    size, lie = b.uniform(0.14, 0.19), (turn, 0, 0)
    for x, y in ((-0.45, 0.62), (0.42, 0.72), (0.08, 0.36)):
        b.cylinder(size, 0.055, meat, rotate=lie, at=spot(x * wide * 1.4, length * (y - 0.5), top),
                   present=here & b.chance(0.85))  # fmt: skip
    green, olive = b.plain(p.leaf), b.plain(p.dark * 0.7, 0.8)
    b.ellipsoid((0.14, 0.08, 0.06), green, rotate=lie, at=spot(0.05, length * 0.08, top), present=here & b.chance(0.6))
    b.torus(0.08, 0.055, olive, rotate=lie, at=spot(-wide * 0.2, length * 0.34, top), present=here & b.chance(0.6))
    knob = b.plain(b.pick(p.leaf, p.accent, p.light))
    b.sphere(0.085, knob, at=spot(0.0, -length * 0.28, top), present=here & b.chance(0.5))
    drop = b.uniform(0.1, 0.2)  # cheese that drips off the edge
    b.limb(spot(-wide * 0.55, none, 2 * t), spot(-wide * 0.6, -drop, t), 0.07, cheese, present=here & b.chance(0.4))


def _doughnut(b: Builder, here: Tensor, dough: Tensor) -> None:
    """A ring with icing, drips and sprinkles; sometimes bitten, sometimes one upon another."""
    p = b.palette
    icing = b.plain(b.pick(p.main, p.light, p.accent, b.tone(0.35, 0.2, 0.12), b.tone(0.96, 0.6, 0.72)), 0.7)
    ring, tube, high = b.uniform(0.52, 0.62), b.uniform(0.26, 0.34), b.chance(0.25)
    for level, present in ((0.0, here), (1.7, here & high)):
        z, coat = tube * (1 + level), b.plain(b.pick(p.second, p.light, p.accent), 0.7) if level else icing
        b.torus(ring, tube, dough, at=(0, 0, z), present=present)
        b.torus(ring, tube * b.uniform(0.88, 0.95), coat, at=(0, 0, z + tube * 0.18), present=present)
        b.ellipsoid((0.1, 0.14, tube * 0.5), coat, at=(0, 0, z + tube * 0.14),
                    radial=(b.integer(6, 9), ring + tube * 0.86), present=present & b.chance(0.6))  # fmt: skip
    top, sprinkled = tube * torch.where(high, 3.75, 2.05), here & b.chance(0.75)
    for index, color in enumerate((p.accent, p.light, p.second)):
        place, fall = ring + tube * (0.5 * index - 0.5), 0.13 if index != 1 else 0.0
        b.ellipsoid((0.06, 0.1, 0.06), b.plain(color, 0.5), rotate=(0, 0, 25 * index),
                    at=(0, 0, top - tube * fall + 0.02), radial=(5 + index, place), present=sprinkled)  # fmt: skip
    b.sphere(b.uniform(0.25, 0.36), dough, at=(ring + tube, -tube * 0.9, tube), operation="subtract",
             present=here & b.chance(0.3))  # fmt: skip


def _pie(b: Builder, here: Tensor, crust: Tensor, bread: Tensor) -> None:
    """A dish with a crimped edge, filling under a lattice or a lid with slits or cream; a quarter may be missing."""
    p = b.palette
    dish = b.plain(b.pick(bread, p.metal, p.light, p.main), 0.6)
    filling = b.plain(b.pick(p.main, p.accent, b.tone(0.6, 0.1, 0.12), b.tone(0.88, 0.5, 0.14)), 0.7)
    r, h = b.uniform(0.68, 0.8), b.uniform(0.13, 0.22)
    b.cylinder(r * b.uniform(0.7, 0.85), h, dish, top=r, at=(0, 0, h), present=here)
    style, dome = b.integer(0, 2), b.uniform(0.12, 0.26)  # lattice, lid, cream
    lid = here & (style == 1)
    b.ellipsoid((r * 0.95, r * 0.95, dome), filling, at=(0, 0, 2 * h - 0.04), present=here & (style != 1))
    b.ellipsoid((r * 0.95, r * 0.95, dome + 0.1), crust, at=(0, 0, 2 * h - 0.04), present=lid)
    for turn in (0, 90):
        b.box((r * 0.9, 0.065, 0.065), crust, rotate=(0, 0, 45 + turn), at=(0, 0, 2 * h + dome * 0.75),
              array=(1, r * 0.45, 3), present=here & (style == 0))  # fmt: skip
    b.torus(r * 0.97, 0.09, crust, at=(0, 0, 2 * h), present=here)
    b.sphere(b.uniform(0.1, 0.13), crust, at=(0, 0, 2 * h + 0.02), radial=(b.integer(9, 12), r), present=here)
    b.box((0.05, 0.16, 0.5), filling, at=(0, 0, 2 * h + dome), radial=(b.integer(4, 6), r * 0.4), operation="paint",
          present=lid)  # fmt: skip
    cream, top = b.plain(p.light, 0.4), 2 * h + dome
    b.cylinder(0.24, 0.12, cream, top=0.12, rounding=0.06, at=(0, 0, top), present=here & (style == 2))
    b.sphere(0.13, cream, at=(0, 0, top - dome * 0.25), radial=(b.integer(5, 7), r * 0.6), present=here & (style == 2))
    b.sphere(0.12, b.plain(b.pick(p.accent, p.main), 0.9), at=(0, 0, top + 0.15), present=here & (style == 2))
    b.box((1, 1, 2), filling, rotate=(0, 0, 45), at=(0, -(2**0.5), 1.15), operation="subtract",
          present=here & (style != 2) & b.chance(0.5))  # fmt: skip
