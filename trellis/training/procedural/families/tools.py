"""Long things held in the hand: sword, hammer, axe, guitar, shield."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def sword(b: Builder) -> None:
    """Blade (straight, tapered or broad), guard (straight, bent or round), grip and pommel; standing upright."""
    p = b.palette
    steel = b.pattern(
        b.pick(p.metal, p.light, p.glass), b.pick(p.metal, p.main), axis=0, chance=0.3, gloss=1.0, kinds=(3, 4)
    )
    gold, grip = (
        b.plain(b.pick(p.accent, p.metal, p.main), 0.8),
        b.pattern(b.pick(p.wood, p.dark, p.second), p.main, chance=0.6, period=(0.12, 0.24), kinds=(1,)),
    )
    w, h, t = b.uniform(0.1, 0.2), b.uniform(0.65, 0.95), b.uniform(0.055, 0.075)
    b.box((w, t, h), steel, rounding=0.03, grow=(b.uniform(-0.45, 0.15), 0), at=(0, 0, h))
    tip = b.uniform(0.1, 0.26)
    b.box((w * 0.8, t, tip), steel, rounding=0.02, grow=(-0.9, -0.3), at=(0, 0, 2 * h + tip * 0.8), blend=0.05)
    g = b.uniform(0.26, 0.48)
    guard = b.integer(0, 2)
    b.box((g, 0.09, 0.065), gold, rounding=0.04, at=(0, 0, -0.02), present=guard == 0)
    lift = b.uniform(-0.15, 0.2)
    b.limb((0, 0, -0.03), (g, 0, -0.03 + lift), 0.09, gold, end_radius=0.07, mirror="x", present=guard == 1)
    b.cylinder(g * 0.62, 0.06, gold, at=(0, 0, -0.02), present=guard == 2)
    hilt = b.uniform(0.16, 0.28)
    b.cylinder(0.085, hilt, grip, top=b.uniform(0.075, 0.1), at=(0, 0, -hilt - 0.05))
    b.sphere(b.uniform(0.11, 0.15), b.plain(b.pick(p.accent, p.metal, p.glass), 1.0), at=(0, 0, -2 * hilt - 0.1))
    b.box((w * 0.3, 0.2, h * 0.7), b.plain(p.dark), at=(0, 0, h * 0.75), operation="paint", present=b.chance(0.35))
    b.sphere(0.09, b.plain(p.main, 1.0), at=(0, -0.06, 0), present=b.chance(0.4))


def hammer(b: Builder) -> None:
    """Hammer, mallet, pickaxe or axe on a handle with a grip; head across x."""
    p = b.palette
    steel = b.pattern(b.pick(p.metal, p.dark, p.main), p.accent, axis=0, chance=0.3, gloss=0.9)
    wood = b.plain(b.pick(p.wood, p.wood, p.accent, p.second))
    h, r = b.uniform(0.6, 0.95), b.uniform(0.065, 0.095)
    b.cylinder(r * b.uniform(1.0, 1.3), h, wood, top=r, at=(0, 0, 0))
    b.cylinder(
        r * 1.35,
        h * 0.28,
        b.pattern(b.pick(p.dark, p.main), p.accent, chance=0.5),
        rounding=0.05,
        at=(0, 0, -h * 0.7),
        present=b.chance(0.6),
    )
    style = b.integer(0, 3)
    s, z = b.uniform(0.13, 0.24), h * 0.95
    length = b.uniform(0.28, 0.45)
    b.box((length, s, s), steel, rounding=0.04, at=(0, 0, z), present=style == 0)
    b.cylinder(s * 1.15, length, steel, rotate=(0, 90, 0), rounding=0.05, at=(0, 0, z), present=style == 1)
    claw = style == 2
    b.cylinder(s * 0.8, length * 0.6, steel, rotate=(0, 90, 0), at=(length * 0.35, 0, z), present=claw)
    b.limb((0, 0, z), (-length, 0, z - b.uniform(0.05, 0.2)), s * 0.7, steel, end_radius=0.06, present=claw)
    axe = style == 3
    b.box(
        (0.06, s * 0.5, length * 0.6),
        steel,
        rounding=0.03,
        grow=(-0.3, -0.2),
        rotate=(0, 90, 0),
        at=(length * 0.35, 0, z),
        present=axe,
    )
    b.box(
        (b.uniform(0.16, 0.3), s * 0.42, length * 0.5),
        steel,
        rounding=0.02,
        grow=(b.uniform(0.1, 0.6), -0.6),
        rotate=(0, 90, 0),
        at=(length * 0.75, 0, z),
        present=axe,
    )
    b.box((s * 0.4, 0.5, 0.5), b.plain(p.light, 1.0), at=(length * 1.15, 0, z), operation="paint", present=~claw)


def guitar(b: Builder) -> None:
    """Acoustic or electric guitar (or violin) standing up, face to the front."""
    p = b.palette
    body = b.pattern(b.pick(p.wood, p.main, p.accent, p.wood), b.pick(p.light, p.dark), axis=2, chance=0.25, gloss=0.9)
    dark = b.plain(b.pick(p.dark, p.wood * 0.6), 0.4)
    low, up, t = b.uniform(0.34, 0.44), b.uniform(0.24, 0.32), b.uniform(0.075, 0.13)
    gap = b.uniform(0.36, 0.46)
    b.cylinder(low, t, body, rotate=(90, 0, 0), rounding=0.05, at=(0, 0, 0))
    b.cylinder(up, t, body, rotate=(90, 0, 0), rounding=0.05, at=(0, 0, gap), blend=b.uniform(0.06, 0.16))
    electric = b.chance(0.4)
    b.limb(
        (up * 0.4, 0, gap),
        (up * 0.95, 0, gap + up * b.uniform(0.8, 1.2)),
        t,
        body,
        end_radius=t * 0.8,
        mirror="x",
        present=electric,
    )
    b.cylinder(
        low * b.uniform(0.28, 0.36),
        0.04,
        dark,
        rotate=(90, 0, 0),
        at=(0, -t, gap * 0.55),
        operation="subtract",
        present=~electric,
    )
    b.box((low * 0.5, 0.05, 0.2), b.plain(p.light, 0.8), at=(0, -t, 0.1), operation="paint", present=electric)
    neck = b.uniform(0.4, 0.6)
    top = gap + up + neck * 2 - 0.1
    b.box(
        (0.07, 0.06, neck),
        b.pattern(dark[:, :3], p.metal, axis=2, chance=0.7, kinds=(1,), period=(0.15, 0.25)),
        rounding=0.02,
        at=(0, -t * 0.75, gap + up + neck - 0.1),
    )
    b.box(
        (b.uniform(0.09, 0.13), 0.06, 0.15),
        body,
        rounding=0.03,
        grow=(b.uniform(-0.2, 0.4), 0),
        at=(0, -t * 0.6, top + 0.1),
    )
    b.sphere(0.055, b.plain(p.metal, 1.0), at=(0.13, -t * 0.6, top + 0.1), array=(2, 0.13, 2), mirror="x")
    b.box((low * 0.4, 0.05, 0.05), dark, at=(0, -t - 0.02, -low * 0.4))
    b.box((0.05, 0.4, gap + 0.1), b.plain(p.light), at=(0, -t * 2, gap * 0.5), operation="paint", present=b.chance(0.4))


def key(b: Builder) -> None:
    """Old-fashioned key: ring or plate bow, shaft, collar and teeth."""
    p = b.palette
    metal = b.pattern(b.pick(p.metal, p.accent, p.main, p.metal), p.second, axis=2, chance=0.3, gloss=1.0)
    r, tube, h = b.uniform(0.24, 0.36), b.uniform(0.075, 0.11), b.uniform(0.5, 0.75)
    three = b.chance(0.35)
    b.torus(r, tube, metal, rotate=(90, 0, 0), at=(0, 0, h + r), present=~three)
    b.torus(r * 0.5, tube, metal, rotate=(90, 0, 0), at=(r * 0.5, 0, h + r * 0.55), mirror="x", present=three)
    b.torus(r * 0.5, tube, metal, rotate=(90, 0, 0), at=(0, 0, h + r * 1.3), present=three)
    b.cylinder(tube, h, metal, at=(0, 0, 0))
    b.torus(tube * 1.2, 0.06, b.plain(p.accent, 0.9), at=(0, 0, h * b.uniform(0.6, 0.9)))
    n, w = b.integer(2, 3), b.uniform(0.13, 0.24)
    b.box((w, 0.06, 0.06), metal, at=(w, 0, -h * 0.72), array=(2, 0.2, n), rounding=0.02)
    b.box((0.07, 0.06, 0.2), metal, at=(w * 1.7, 0, -h * 0.72), present=b.chance(0.4), rounding=0.02)
    b.sphere(tube * 1.2, metal, at=(0, 0, -h), present=torch.ones(b.count, dtype=torch.bool))


def shield(b: Builder) -> None:
    """Round, kite, heater or tower shield that stands upright: rim, field with a painted device, boss, studs."""
    p = b.palette
    rim = b.plain(b.pick(p.metal, p.dark, p.accent, p.wood), 0.8)
    field = b.pattern(b.pick(p.main, p.wood, p.second, p.metal), p.light, axis=None, chance=0.35, kinds=(1, 2, 3),
                      period=(0.25, 0.7), gloss=0.5)  # fmt: skip
    kind = b.integer(0, 3)  # round, kite, heater, tower
    w, upper, point = b.uniform(0.6, 0.8), b.uniform(0.25, 0.5), b.uniform(0.45, 0.75)
    tower = kind == 3
    high = torch.where(tower, b.uniform(0.85, 1.05), upper)
    tail = torch.where(kind == 1, b.uniform(1.0, 1.5), point + 0.25)
    belly, thick, border = b.uniform(0.62, 0.85), b.uniform(0.06, 0.1), b.uniform(0.84, 0.92)
    pointed = (kind == 1) | (kind == 2)
    wide = torch.where(kind == 0, w, torch.where(tower, w * 0.8, w * 0.85))
    for material, k, y in ((rim, torch.ones_like(w), 0.0), (field, border, -0.06)):
        b.cylinder(wide * k, thick, material, rotate=(90, 0, 0), at=(0, y, 0), present=kind <= 1)
        b.box((wide * k, thick, high - wide * (1 - k)), material, rounding=0.03, at=(0, y, 0), present=kind >= 2)
        start = torch.where(kind == 1, 0.05, -high + 0.08)
        middle, end = tail * 0.45 / 2, tail * 0.6 / 2 * k
        bottom = wide * belly * k
        mean = (wide * k + bottom) / 2
        b.box((mean, thick, middle), material, rounding=0.01, grow=((wide * k - bottom) / (2 * mean), 0),
              at=(0, y, start - middle), present=pointed)  # fmt: skip
        b.box((bottom * 0.53, thick, end), material, rounding=0.01, grow=(0.88, 0),
              at=(0, y, start - 2 * middle - end + 0.02), present=pointed)  # fmt: skip
    b.cylinder(wide * 0.42, 0.5, rim, rotate=(90, 0, 0), at=(wide * 0.55, 0, high + wide * 0.24), mirror="x",
               operation="subtract", present=(kind == 2) & b.chance(0.4))  # fmt: skip
    _shield_device(b, rim, wide=wide, thick=thick, round_shield=kind == 0)
    b.torus(0.17, 0.06, b.plain(b.pick(p.wood, p.dark)), rotate=(0, 90, 0), at=(0, thick, 0))


def _shield_device(b: Builder, rim: Tensor, *, wide: Tensor, thick: Tensor, round_shield: Tensor) -> None:
    """What is on the front: a painted cross, stripe, halves or chevron, a boss or spike, a raised disc, studs."""
    p = b.palette
    ink = b.plain(b.pick(p.accent, p.light, p.dark, p.second), 0.5)
    style, bar = b.integer(0, 5), wide * b.uniform(0.12, 0.22)
    front = -thick - 0.3
    upright, across = (style == 0) | (style == 1), (style == 0) | (style == 2)
    b.box((bar, 0.3, 3), ink, at=(0, front, 0), operation="paint", present=upright)
    b.box((wide * 2, 0.3, bar), ink, at=(0, front, 0.05), operation="paint", present=across)
    b.box((3, 0.3, 3), ink, at=(3, front, 0), operation="paint", present=style == 3)
    b.box((bar, 0.3, wide), ink, rotate=(0, -45, 0), at=(wide * 0.5, front, -wide * 0.35), mirror="x",
          operation="paint", present=style == 4)  # fmt: skip
    y = -thick - 0.05
    boss, spike = b.chance(0.55), b.chance(0.35)
    b.ellipsoid((bar * 1.6, b.uniform(0.14, 0.24), bar * 1.6), rim, at=(0, y, 0.05), present=boss)
    b.limb((0, y, 0.05), (0, y - b.uniform(0.25, 0.4), 0.05), 0.1, rim, end_radius=0.05, present=boss & spike)
    star = ~boss & b.chance(0.6)
    b.box((wide * 0.32, 0.08, wide * 0.32), ink, rounding=0.02, rotate=(0, 45, 0), at=(0, y, 0.05), present=star)
    studs = b.chance(0.5)
    b.sphere(0.075, rim, rotate=(90, 0, 0), at=(0, y - 0.02, 0), radial=(b.integer(5, 10), wide * 0.72),
             present=studs & round_shield)  # fmt: skip
    b.sphere(0.075, rim, at=(wide * 0.7, y - 0.02, 0.15), mirror="x", present=studs & ~round_shield)
