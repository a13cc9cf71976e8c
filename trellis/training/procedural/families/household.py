"""Household things: mug, lamp, bottle, teapot, chest and the like."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def mug(b: Builder) -> None:
    """A hollow cup with its handle at the right, bands and a drink inside."""
    p = b.palette
    body = b.pattern(b.pick(p.main, p.second, p.light), b.pick(p.accent, p.light), chance=0.55, gloss=0.6)
    r, h = b.uniform(0.5, 0.75), b.uniform(0.5, 0.85)
    bottom, wall = r * b.uniform(0.68, 1.05), b.uniform(0.075, 0.11)
    b.cylinder(bottom, h, body, top=r, rounding=b.uniform(0.02, 0.12))
    ring, tube = h * b.uniform(0.45, 0.62), b.uniform(0.075, 0.11)
    # One place for the handle: a picture cannot tell a turned handle from a turned camera.
    reach = (r + bottom) / 2 + 0.02
    b.torus(
        ring,
        tube,
        b.plain(b.pick(p.main, p.accent, p.light), 0.6),
        half_angle=b.uniform(1.75, 2.1),
        at=(reach, 0, b.uniform(-0.08, 0.1)),
        rotate=(0, -90, -90),
        blend=0.05,
    )
    inner = b.plain(p.light, 0.5)
    b.cylinder(bottom - wall, h, inner, top=r - wall, at=(0, 0, wall * 1.4), operation="subtract")
    drink = b.plain(b.pick(p.wood, p.dark, p.leaf))
    level = h * b.uniform(-0.2, 0.75)
    # The drink reaches down to the bottom: no hidden hollow, and fewer voxels than an empty deep cup.
    b.cylinder(
        bottom - wall * 0.7,
        (level + h) / 2,
        drink,
        top=bottom - wall * 0.7 + (r - bottom) * (level + h) / (2 * h),
        at=(0, 0, (level - h) / 2 + wall * 0.5),
    )


def lamp(b: Builder) -> None:
    """Foot, stem (straight or bent) and a shade (cone or dome)."""
    p = b.palette
    metal = b.plain(b.pick(p.metal, p.dark, p.wood, p.main), 0.6)
    shade = b.pattern(b.pick(p.light, p.main, p.second), p.accent, chance=0.45)
    h, foot, r = b.uniform(1.2, 2.1), b.uniform(0.28, 0.5), b.uniform(0.055, 0.09)
    b.cylinder(foot, b.uniform(0.05, 0.12), metal, top=foot * b.uniform(0.4, 0.95), at=(0, 0, 0.06))
    desk = b.chance(0.4)
    knee = b.uniform(0.1, 0.4)
    b.limb((0, 0, 0), (0, 0, h), r, metal, flat=True, present=~desk)
    b.limb((0, 0, 0), (0, knee, h * 0.55), r, metal, present=desk)
    b.limb((0, knee, h * 0.55), (0, -0.35, h), r, metal, present=desk)
    bulb_z, wide = h, b.uniform(0.42, 0.75)
    tall, narrow = b.uniform(0.22, 0.45), b.uniform(0.35, 1.0)
    b.cylinder(wide, tall, shade, top=wide * narrow, at=(0, 0, bulb_z), present=~desk)
    b.cylinder(
        wide - 0.09,
        tall,
        b.plain(p.light),
        top=wide * narrow - 0.09,
        at=(0, 0, bulb_z - 0.12),
        operation="subtract",
        present=~desk,
    )
    b.cylinder(
        wide * 0.75,
        tall * 0.8,
        shade,
        top=0.12,
        rotate=(b.uniform(-40, -5), 0, 0),
        at=(0, -0.42, h - tall * 0.3),
        present=desk,
    )
    b.sphere(
        b.uniform(0.09, 0.14),
        b.plain(b.pick(p.metal, p.accent)),
        at=(0, 0, h * b.uniform(0.3, 0.5)),
        present=~desk & b.chance(0.5),
    )


def bottle(b: Builder) -> None:
    """Body of revolution with shoulder, neck, cap and label: wine, flask, vase-like or square."""
    p = b.palette
    glass = b.pattern(b.pick(p.main, p.second, p.glass, p.leaf, p.light), p.accent, axis=2, chance=0.3, gloss=1.0)
    r, h = b.uniform(0.26, 0.5), b.uniform(0.4, 0.75)
    square, bulb = b.chance(0.2), b.chance(0.25)
    b.cylinder(r * b.uniform(0.8, 1.0), h, glass, top=r, rounding=0.06, present=~square & ~bulb)
    b.box((r * 0.85, r * b.uniform(0.5, 0.85), h), glass, rounding=0.1, present=square)
    b.ellipsoid((r * 1.1, r * 1.1, h), glass, present=bulb & ~square)
    shoulder, neck, tall = b.uniform(0.08, 0.22), r * b.uniform(0.25, 0.45), b.uniform(0.12, 0.35)
    wide = torch.where(square, r * 0.6, r * 0.92)
    b.cylinder(wide, shoulder, glass, top=neck, at=(0, 0, h + shoulder * 0.7), blend=0.08, present=~bulb | square)
    z = torch.where(bulb & ~square, h * 0.92, h + shoulder * 1.4)
    b.cylinder(neck, tall, glass, at=(0, 0, z + tall * 0.7), blend=0.06)
    cap = b.plain(b.pick(p.accent, p.metal, p.wood, p.dark), 0.6)
    b.cylinder(
        neck * b.uniform(1.1, 1.4), b.uniform(0.06, 0.13), cap, at=(0, 0, z + tall * 1.7), present=b.chance(0.75)
    )
    label = b.pattern(p.light, p.accent, axis=2, chance=0.6, period=(0.2, 0.5))
    b.box(
        (2, 2, h * b.uniform(0.25, 0.5)),
        label,
        at=(0, 0, -h * b.uniform(-0.1, 0.3)),
        operation="paint",
        present=b.chance(0.7),
    )
    b.torus(
        neck * 1.6,
        0.06,
        glass,
        rotate=(0, -90, -90),
        at=(neck * 1.1, 0, z + tall * 0.4),
        mirror="x",
        present=b.chance(0.2),
    )


def teapot(b: Builder) -> None:
    """Round body, lid with a knob, spout towards the left or right, handle opposite, foot ring."""
    p = b.palette
    body = b.pattern(b.pick(p.main, p.light, p.second, p.metal), p.accent, axis=2, chance=0.5, gloss=0.8)
    trim = b.plain(b.pick(p.main, p.accent, p.light, p.wood), 0.6)
    r, h = b.uniform(0.48, 0.6), b.uniform(0.38, 0.56)
    b.ellipsoid((r, r, h), body)
    b.cylinder(r * 0.62, 0.06, trim, at=(0, 0, -h * 0.88))
    b.ellipsoid((r * 0.58, r * 0.58, h * b.uniform(0.25, 0.45)), trim, at=(0, 0, h * 0.82))
    b.sphere(b.uniform(0.08, 0.12), b.plain(b.pick(p.accent, p.dark, p.metal), 0.7), at=(0, 0, h * 1.25))
    side = torch.where(b.chance(0.5), 1.0, -1.0)
    rise, reach = b.uniform(0.25, 0.5), b.uniform(0.25, 0.45)
    bend = b.uniform(0.4, 0.7)
    front = -0.25
    elbow = (side * (r + reach * bend), front * 1.3, rise * 0.3 - 0.08)
    b.limb((side * r * 0.7, front * 0.8, -h * 0.3), elbow, 0.17, body, end_radius=0.11, blend=0.06)
    b.limb(elbow, (side * (r + reach), front * 1.5, rise), 0.11, body, end_radius=0.08, blend=0.03)
    ring, top_handle = h * b.uniform(0.55, 0.75), b.chance(0.25)
    b.torus(
        ring,
        b.uniform(0.06, 0.085),
        trim,
        rotate=(0, -90, side * 90),
        at=(-side * r * 0.95, 0.05, 0.02),
        present=~top_handle,
    )
    b.torus(r * 0.8, 0.07, trim, half_angle=1.7, rotate=(90, 0, 0), at=(0, 0, h * 0.75), present=top_handle)


def cake(b: Builder) -> None:
    """One to three round or square tiers with icing, fruit in a ring and candles, on a plate."""
    p = b.palette
    sponge = b.pattern(b.pick(p.main, p.wood, p.second, p.light), b.pick(p.light, p.accent), axis=2, chance=0.6)
    icing = b.plain(b.pick(p.light, p.accent, p.wood), 0.5)
    r, h = b.uniform(0.6, 0.8), b.uniform(0.17, 0.26)
    tiers, square = b.integer(1, 3), b.chance(0.25)
    b.cylinder(r * 1.2, 0.05, b.plain(p.light, 0.7), top=r * 1.25, at=(0, 0, 0.03))
    top, size = torch.zeros(b.count), r
    for tier in range(3):
        present = tiers > tier
        z = 0.08 + h * (2 * tier + 1)
        size = r * (1 - 0.28 * tier)
        b.cylinder(size, h, sponge, rounding=0.04, at=(0, 0, z), present=present & ~square)
        b.box((size * 0.86, size * 0.86, h), sponge, rounding=0.04, at=(0, 0, z), present=present & square)
        b.torus(size * 0.96, 0.065, icing, at=(0, 0, z + h * 0.85), present=present & ~square)
        top = torch.where(present, z + h, top)
    b.sphere(
        b.uniform(0.07, 0.1),
        b.plain(p.accent, 0.8),
        at=(0, 0, top + 0.04),
        radial=(b.integer(4, 7), r * 0.3),
        present=b.chance(0.6),
    )
    candle = b.chance(0.6)
    tall = b.uniform(0.1, 0.2)
    b.cylinder(
        0.055, tall, b.pattern(p.second, p.light, chance=0.6, period=(0.1, 0.2)), at=(0, 0, top + tall), present=candle
    )
    b.ellipsoid(
        (0.05, 0.05, 0.085),
        b.plain(torch.tensor([1.0, 0.75, 0.2]).expand(b.count, 3)),
        at=(0, 0, top + tall * 2 + 0.05),
        present=candle,
    )
    b.sphere(0.12, b.plain(p.accent, 0.9), at=(0, 0, top + 0.08), present=~candle)


def ice_cream(b: Builder) -> None:
    """A cone or a cup with one to three scoops, sauce, a cherry or a wafer."""
    p = b.palette
    wafer = b.pattern(p.wood, p.wood * 0.75, axis=None, chance=0.8, period=(0.15, 0.3), kinds=(1, 2))
    r, h = b.uniform(0.34, 0.46), b.uniform(0.45, 0.8)
    cup = b.chance(0.3)
    b.cylinder(0.06, h, wafer, top=r * 0.95, rounding=0.03, at=(0, 0, -h), present=~cup)
    b.cylinder(
        r * 0.65, h * 0.45, b.pattern(p.main, p.light, axis=2, chance=0.6), top=r, at=(0, 0, -h * 0.42), present=cup
    )
    b.torus(r * 0.92, 0.07, wafer, at=(0, 0, -0.03), present=b.chance(0.5))
    flavours = (p.main, p.second, p.accent)
    n, side_by_side = b.integer(1, 3), b.chance(0.3)
    z = r * 0.35
    for index, flavour in enumerate(flavours):
        size = r * (1 - 0.1 * index)
        offset = torch.where(side_by_side & (n > 1), (index - 1.0) * r * 0.6, torch.zeros(b.count))
        height = torch.where(side_by_side, z + r * 0.15 * index, z + index * r * 1.05)
        b.sphere(
            size,
            b.pattern(flavour, p.light, chance=0.3, kinds=(5,), period=(0.2, 0.3)),
            at=(offset, 0, height),
            present=n > index,
            blend=0.02,
        )
    top = z + torch.where(side_by_side, r * 0.15 * (n - 1), (n - 1) * r * 1.05) + r * 0.9
    tip = torch.where(side_by_side & (n > 1), (n - 2) * r * 0.6, torch.zeros(b.count))
    b.sphere(
        0.11,
        b.plain(torch.tensor([0.85, 0.1, 0.15]).expand(b.count, 3), 1.0),
        at=(tip, 0, top + 0.05),
        present=b.chance(0.5),
    )
    b.limb((tip + 0.1, 0.1, top - 0.2), (tip + 0.32, 0.2, top + 0.3), 0.065, wafer, flat=True, present=b.chance(0.4))


def chest(b: Builder) -> None:
    """Treasure chest: rounded or flat lid, shut or open, with bands, lock, feet and sometimes a heap of treasure."""
    p = b.palette
    wood = b.pattern(
        b.pick(p.wood, p.wood, p.main, p.dark), p.wood * 0.7, axis=2, chance=0.6, kinds=(1,), period=(0.15, 0.3)
    )
    metal = b.plain(b.pick(p.metal, p.accent, p.dark), 0.9)
    w, d, h = b.uniform(0.62, 0.95), b.uniform(0.28, 0.38), b.uniform(0.17, 0.29)
    is_open, flat = b.chance(0.45), b.chance(0.35)
    angle = torch.where(is_open, b.uniform(35, 105), 0.0)
    c, s = angle.deg2rad().cos(), angle.deg2rad().sin()
    top, tall = 2 * h, b.uniform(0.07, 0.18)
    ly, lz = d - d * c, top + d * s

    def lid(up: float | Tensor) -> tuple[float, Tensor, Tensor]:
        return 0.0, ly + up * s, lz + up * c

    turn, x = (-angle, 0, 0), w * b.uniform(0.45, 0.8)
    # The lid goes first, so that what hollows it does not cut the chest.
    b.cylinder(d, w, wood, rotate=(0, 90, 0), rounding=0.03, at=lid(0), present=~flat)
    b.cylinder(d + 0.04, 0.075, metal, rotate=(0, 90, 0), at=(x, ly, lz), mirror="x", present=~flat)
    b.box((w * 2, d * 2, d), wood, rotate=turn, at=lid(-d), operation="subtract", present=~flat)
    b.cylinder(d * 0.72, w * 0.85, wood, rotate=(0, 90, 0), at=lid(0), operation="subtract", present=~flat & is_open)
    b.box(
        (w, d, tall),
        wood,
        rotate=turn,
        rounding=0.03,
        grow=(b.uniform(-0.12, 0), -0.08),
        at=lid(tall),
        present=flat,
    )
    b.box((0.075, d + 0.03, tall + 0.03), metal, rotate=turn, at=(x, ly + tall * s, lz + tall * c), mirror="x",
          present=flat)  # fmt: skip
    b.box((w, d, h), wood, rounding=0.02, grow=(b.uniform(0, 0.1), 0), at=(0, 0, h))
    b.box((0.075, d + 0.04, h + 0.02), metal, rounding=0.01, at=(x, 0, h), mirror="x")
    b.box((w * 0.86, d * 0.78, h), b.plain(p.dark), at=(0, 0, top + h * 0.35), operation="subtract", present=is_open)
    gold = b.plain(b.pick(torch.tensor([0.95, 0.76, 0.2]).expand(b.count, 3), p.accent, p.glass), 1.0)
    full = is_open & b.chance(0.7)
    heap = b.uniform(0.08, 0.22)
    b.ellipsoid((w * 0.84, d * 0.76, heap + h * 0.5), gold, at=(0, 0, top - h * 0.5), present=full)
    b.sphere(
        0.1, gold, at=(0, -d * 0.2, top - h * 0.5 + heap + h * 0.4), array=(0, w * 0.4, b.integer(1, 3)), present=full
    )
    _chest_fittings(b, metal, size=(w, d, h), shut=~is_open)


def _chest_fittings(b: Builder, metal: Tensor, *, size: tuple[Tensor, Tensor, Tensor], shut: Tensor) -> None:
    """Lock with a keyhole, a band round the edge, feet and rings at the sides of a chest of half sizes `size`."""
    p, (w, d, h), top = b.palette, size, 2 * size[2]
    lock = b.plain(b.pick(p.metal, p.accent, p.dark), 1.0)
    b.box((b.uniform(0.09, 0.15), 0.07, b.uniform(0.1, 0.15)), lock, rounding=0.03, at=(0, -d - 0.02, top - 0.07))
    b.sphere(0.05, b.plain(p.dark * 0.4), at=(0, -d - 0.09, top - 0.07), operation="paint")
    b.box((w + 0.03, d + 0.03, 0.06), metal, rounding=0.02, at=(0, 0, top - 0.07), present=shut & b.chance(0.4))
    b.sphere(0.12, metal, at=(w * 0.85, d * 0.8, 0.02), mirror="xy", present=b.chance(0.4))
    b.torus(0.12, 0.05, lock, rotate=(0, 90, 0), at=(w + 0.03, 0, h * 1.1), mirror="x", present=b.chance(0.4))
