"""Long things held in the hand: sword, hammer, axe, guitar."""

import torch

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
