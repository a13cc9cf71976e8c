"""Plants: tree, conifer, mushroom, cactus, flower, fruit."""

import torch

from trellis.training.procedural.builder import Builder


def tree(b: Builder) -> None:
    """Broad-leaved tree: bent trunk, branches, a crown of three to six balls, fruit."""
    p = b.palette
    bark = b.plain(p.wood)
    leaves = b.pattern(p.leaf, p.leaf * 0.8, axis=2, chance=0.4, kinds=(4, 5), period=(0.2, 0.5))
    other = b.plain(p.leaf * b.uniform(0.8, 1.15)[:, None])
    h, r = b.uniform(0.5, 1.0), b.uniform(0.09, 0.16)
    bx, by = b.uniform(-0.15, 0.15), b.uniform(-0.12, 0.12)
    b.limb((0, 0, 0), (bx, by, h), r, bark, end_radius=r * 0.7)
    b.cylinder(r * 1.7, 0.08, bark, top=r, at=(0, 0, 0.06), blend=0.08)
    size = b.uniform(0.4, 0.6)
    z = h + size * 0.5
    squash = b.uniform(0.7, 1.1)
    b.ellipsoid((size, size * b.uniform(0.85, 1.0), size * squash), leaves, at=(bx, by, z))
    for index in range(4):
        angle = 1.57 * index + b.uniform(-0.5, 0.5)
        reach, ball = size * b.uniform(0.55, 0.95), size * b.uniform(0.45, 0.7)
        at = (bx + reach * angle.cos(), by + reach * angle.sin(), z + size * b.uniform(-0.4, 0.5))
        b.sphere(ball, other if index % 2 else leaves, at=at, blend=b.uniform(0.02, 0.1), present=b.chance(0.7))
    b.sphere(size * 0.6, leaves, at=(bx, by, z + size * squash * 0.75), blend=0.05, present=b.chance(0.5))
    b.limb(
        (bx * 0.6, by * 0.6, h * 0.5),
        (bx + size, by, z - size * 0.2),
        r * 0.6,
        bark,
        end_radius=0.05,
        present=b.chance(0.4),
    )
    b.sphere(0.08, b.plain(p.accent, 0.7), at=(bx, by, z), radial=(b.integer(3, 6), size * 0.93), present=b.chance(0.3))


def conifer(b: Builder) -> None:
    """Fir: trunk (or a pot) and two to five cones, optional star and ball ornaments."""
    p = b.palette
    needles = b.pattern(b.pick(p.leaf, p.leaf, p.main), p.light, axis=2, chance=0.3, kinds=(3, 4))
    tiers = b.integer(2, 5)
    r, trunk, step = b.uniform(0.45, 0.7), b.uniform(0.12, 0.3), b.uniform(0.24, 0.34)
    b.cylinder(b.uniform(0.1, 0.16), trunk, b.plain(p.wood), at=(0, 0, -trunk * 0.8))
    shrink, sharp = b.uniform(0.72, 0.85), b.uniform(0.12, 0.4)
    size, z = r, torch.zeros(b.count)
    top = z
    for tier in range(5):
        present = tiers > tier
        last = tiers == tier + 1
        half = step * (0.8 + 0.5 * size)
        upper = torch.where(last, torch.full_like(size, 0.03), size * sharp)
        b.cylinder(size, half, needles, top=upper, rounding=0.03, at=(0, 0, z + half), present=present)
        top = torch.where(present, z + half * 2, top)
        z, size = z + half * 1.15, size * shrink
    festive = b.chance(0.35)
    gold = b.plain(torch.tensor([1.0, 0.8, 0.2]).expand(b.count, 3), 0.9)
    b.sphere(0.09, gold, at=(0, 0, top + 0.04), present=festive)
    b.sphere(0.075, b.plain(p.accent, 0.9), at=(0, 0, 0.14), radial=(b.integer(4, 7), r * 0.8), present=festive)
    b.cylinder(
        r * 0.35, 0.16, b.plain(p.accent), top=r * 0.48, at=(0, 0, -trunk * 1.7), present=festive | b.chance(0.2)
    )


def mushroom(b: Builder) -> None:
    """Stem, dome or cone cap with spots, a ring, and sometimes a second small one."""
    p = b.palette
    cap = b.pattern(
        b.pick(p.main, p.accent, p.wood), p.light, chance=0.65, kinds=(5, 5, 4, 1), axis=2, period=(0.3, 0.5)
    )
    stem = b.plain(b.pick(p.light, p.light, p.wood * 1.2))
    h, r = b.uniform(0.35, 0.7), b.uniform(0.13, 0.24)
    bend = b.uniform(-0.15, 0.15)
    b.limb((0, 0, 0), (bend, 0, h * 1.2), r * b.uniform(0.9, 1.4), stem, end_radius=r * 0.8)
    w, tall = b.uniform(0.5, 0.75), b.uniform(0.28, 0.6)
    pointy = b.chance(0.25)
    b.ellipsoid((w, w, tall), cap, at=(bend, 0, h * 1.15), present=~pointy)
    b.cylinder(w * 0.9, tall * 0.65, cap, top=0.1, rounding=0.09, at=(bend, 0, h * 1.15 + tall * 0.5), present=pointy)
    gills = b.plain(b.pick(p.light, p.wood))
    hollow = b.uniform(0.05, 0.35)
    b.ellipsoid(
        (w * 1.6, w * 1.6, tall * 1.1),
        gills,
        at=(bend, 0, h * 1.15 - tall * (1.1 + 0.1 - hollow * 0.8)),
        operation="subtract",
        present=~pointy,
    )
    b.limb((bend * 0.2, 0, 0.1), (bend, 0, h * 1.2), r, stem, end_radius=r * 0.8)
    b.cylinder(r * 1.8, 0.05, stem, top=r * 1.2, at=(bend * 0.6, 0, h * 0.75), present=b.chance(0.35))
    small = b.chance(0.4)
    x, y, s = b.uniform(0.35, 0.6), b.uniform(-0.3, 0.1), b.uniform(0.18, 0.3)
    b.limb((x, y, 0), (x, y, s * 1.6), s * 0.4, stem, present=small)
    b.ellipsoid((s, s, s * 0.7), cap, at=(x, y, s * 1.8), present=small)
    b.cylinder(w * 0.8, 0.07, b.plain(p.leaf), at=(0, 0, -r * 0.8), rounding=0.05, present=b.chance(0.4))


def cactus(b: Builder) -> None:
    """Column or ball cactus with bent arms, a flower, in a pot or on sand."""
    p = b.palette
    skin = b.pattern(b.pick(p.leaf, p.leaf, p.main), p.light, axis=0, chance=0.5, kinds=(1, 5), period=(0.14, 0.25))
    pot = b.pattern(b.pick(p.accent, p.wood, p.light, p.second), p.main, axis=2, chance=0.5)
    h, r = b.uniform(0.35, 0.75), b.uniform(0.17, 0.28)
    ball = b.chance(0.2)
    b.capsule(h, r, skin, top=r * 0.9, at=(0, 0, h), present=~ball)
    b.ellipsoid((r * 1.9, r * 1.9, r * 1.8), skin, at=(0, 0, r * 1.3), present=ball)
    for side in (1.0, -1.0):
        present = b.chance(0.75) & ~ball
        arm, reach, low, up = (
            b.uniform(0.08, 0.13),
            r + b.uniform(0.16, 0.3),
            h * b.uniform(0.5, 1.2),
            b.uniform(0.2, 0.5),
        )
        elbow = (side * reach, b.uniform(-0.1, 0.1), low)
        b.limb((0, 0, low - 0.08), elbow, arm, skin, present=present)
        b.limb(elbow, (side * reach, 0, low + up), arm, skin, end_radius=arm * 0.9, present=present)
    potted = b.chance(0.7)
    size, ph = b.uniform(0.3, 0.45), b.uniform(0.16, 0.28)
    b.cylinder(size * 0.75, ph, pot, top=size, at=(0, 0, -ph), present=potted)
    b.torus(size, 0.06, pot, at=(0, 0, 0), present=potted)
    b.cylinder(
        size * 1.3, 0.08, b.plain(p.wood * 0.6 + p.light * 0.4), rounding=0.07, at=(0, 0, -0.08), present=~potted
    )
    flower = b.chance(0.5)
    top = torch.where(ball, r * 3.05, 2 * h + r * 0.9)
    b.ellipsoid((0.12, 0.07, 0.06), b.plain(p.accent), at=(0, 0, top + 0.03), radial=(5, 0.09), present=flower)


def flower(b: Builder) -> None:
    """Flower in a pot: bent stem, five to nine petals around a disc, leaves."""
    p = b.palette
    petal = b.pattern(b.pick(p.main, p.accent, p.second, p.light), p.light, axis=0, chance=0.4, kinds=(4, 3))
    h, bend = b.uniform(0.6, 1.0), b.uniform(-0.2, 0.2)
    stem = b.plain(p.leaf)
    b.limb((0, 0, 0), (bend, 0, h * 0.5), 0.06, stem)
    b.limb((bend, 0, h * 0.5), (0, -0.06, h), 0.06, stem)
    n, size = b.integer(5, 9), b.uniform(0.2, 0.3)
    tilt = b.uniform(40, 85)
    wide = (2.6 * size / n).clamp(0.07, 0.16)
    b.ellipsoid((size * 0.62, wide, 0.06), petal, rotate=(tilt, 0, 0), at=(0, -0.1, h), radial=(n, size * 0.75))
    core = b.uniform(0.11, 0.17)
    ring = b.plain(b.pick(p.wood, p.accent * 0.9, torch.tensor([0.98, 0.8, 0.2]).expand(b.count, 3)))
    b.ellipsoid((size * 0.55, size * 0.55, 0.07), petal, rotate=(tilt, 0, 0), at=(0, -0.09, h))
    b.sphere(core, ring, at=(0, -0.13, h))
    leaf = b.uniform(0.18, 0.3)
    b.ellipsoid(
        (leaf, 0.1, 0.05),
        stem,
        rotate=(0, b.uniform(-40, -10), 0),
        at=(leaf * 0.9, 0, h * 0.3),
        mirror="x",
        present=b.chance(0.8),
    )
    size2, ph = b.uniform(0.24, 0.38), b.uniform(0.16, 0.26)
    pot = b.pattern(b.pick(p.second, p.wood, p.light, p.accent), p.main, axis=2, chance=0.5)
    b.cylinder(size2 * 0.72, ph, pot, top=size2, at=(0, 0, -ph * 0.8))
    b.torus(size2, 0.06, pot, at=(0, 0, ph * 0.2))
    b.cylinder(size2, 0.05, b.plain(p.wood * 0.5), at=(0, 0, ph * 0.16))


def fruit(b: Builder) -> None:
    """Apple, pear, orange, pumpkin: blended balls with a dent, ribs, stem and leaf."""
    p = b.palette
    skin = b.pattern(
        b.pick(p.main, p.accent, p.leaf), b.pick(p.leaf, p.second), axis=2, chance=0.6, kinds=(4, 4, 5, 1), gloss=0.8
    )
    kind = b.integer(0, 2)
    r = b.uniform(0.5, 0.6)
    squash = b.uniform(0.72, 1.1)
    apple, pear, pumpkin = kind == 0, kind == 1, kind == 2
    b.ellipsoid((r, r, r * squash), skin, present=apple | pear)
    b.sphere(r * b.uniform(0.5, 0.7), skin, at=(b.uniform(-0.08, 0.08), 0, r * 0.9), blend=0.25, present=pear)
    ribs = b.integer(6, 9)
    b.ellipsoid((r * 0.5, r * 0.44, r * squash * 0.8), skin, radial=(ribs, r * 0.6), present=pumpkin)
    b.sphere(r * 0.24, skin, at=(0, 0, r * squash * 1.12), operation="subtract", blend=0.1, present=apple)
    top = torch.where(pear, r * 1.45, r * squash * 0.72)
    tall = b.uniform(0.16, 0.3)
    stem = b.plain(torch.where(pumpkin[:, None], p.leaf * 0.8, p.wood))
    b.limb((0, 0, top - 0.05), (b.uniform(-0.12, 0.12), 0, top + tall), 0.07, stem, end_radius=0.05)
    b.ellipsoid(
        (0.22, 0.12, 0.05),
        b.plain(p.leaf),
        rotate=(0, b.uniform(-40, 0), b.uniform(-60, 60)),
        at=(0.16, 0, top + tall * 0.7),
        present=b.chance(0.7),
    )
    face = pumpkin & b.chance(0.5)
    dark = b.plain(torch.tensor([0.98, 0.8, 0.25]).expand(b.count, 3))
    b.box((0.09, 0.5, 0.09), dark, grow=(-0.9, 0), at=(0.19, -r, 0.12), mirror="x", operation="paint", present=face)
    b.box((0.24, 0.5, 0.06), dark, grow=(0.4, 0), at=(0, -r, -0.16), operation="paint", present=face)
