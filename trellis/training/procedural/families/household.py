"""Household things: mug, lamp, bottle, teapot and the like."""

import math

from trellis.training.procedural.builder import Builder


def mug(b: Builder) -> None:
    """A hollow cup with a handle at the side, bands and a drink inside."""
    p = b.palette
    body = b.pattern(b.pick(p.main, p.second, p.light), b.pick(p.accent, p.light), chance=0.55, gloss=0.6)
    r, h = b.uniform(0.5, 0.75), b.uniform(0.5, 0.85)
    bottom, wall = r * b.uniform(0.68, 1.05), b.uniform(0.075, 0.11)
    b.cylinder(bottom, h, body, top=r, rounding=b.uniform(0.02, 0.12))
    ring, tube = h * b.uniform(0.45, 0.62), b.uniform(0.075, 0.11)
    turn = b.uniform(-50, 20)
    cx, sy = (turn * math.pi / 180).cos(), (turn * math.pi / 180).sin()
    reach = (r + bottom) / 2 + 0.02
    b.torus(
        ring,
        tube,
        b.plain(b.pick(p.main, p.accent, p.light), 0.6),
        half_angle=b.uniform(1.75, 2.1),
        at=(reach * cx, reach * sy, b.uniform(-0.08, 0.1)),
        rotate=(0, -90, turn - 90),
        blend=0.05,
    )
    inner = b.plain(p.light, 0.5)
    b.cylinder(bottom - wall, h, inner, top=r - wall, at=(0, 0, wall * 1.4), operation="subtract")
    drink = b.plain(b.pick(p.wood, p.dark, p.leaf))
    b.cylinder(
        bottom * 0.98 - wall * 0.8,
        h * 0.5,
        drink,
        top=r - wall * 0.8,
        at=(0, 0, h * b.uniform(-0.2, 0.25)),
        present=b.chance(0.6),
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
