"""Figures: person, turtle, creature."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder

_SKINS = torch.tensor(
    [[0.98, 0.83, 0.70], [0.91, 0.70, 0.53], [0.75, 0.53, 0.37], [0.52, 0.34, 0.23], [0.96, 0.80, 0.22]]
)
_HAIRS = torch.tensor(
    [[0.16, 0.12, 0.10], [0.36, 0.22, 0.13], [0.85, 0.66, 0.32], [0.72, 0.32, 0.14], [0.80, 0.80, 0.80]]
)


def person(b: Builder) -> None:
    """Standing figure, big-headed or tall: hair or a hat, clothes, arms in a pose, skirt, cape, staff."""
    p = b.palette
    skin = b.plain(b.draws.choose(_SKINS))
    cloth, trim = b.pick(p.main, p.accent, p.light, p.second), b.pick(p.light, p.second, p.accent)
    shirt = b.pattern(cloth, trim, axis=2, chance=0.4, kinds=(1, 2, 3, 5), period=(0.15, 0.4))
    lower = b.plain(b.pick(p.dark, p.second, p.main, p.wood))
    w, h, leg, r = b.uniform(0.19, 0.36), b.uniform(0.22, 0.36), b.uniform(0.22, 0.66), b.uniform(0.17, 0.4)
    d = w * b.uniform(0.6, 0.9)
    round_body = b.chance(0.4)
    b.box((w, d, h), shirt, rounding=0.08, grow=(b.uniform(-0.25, 0.25), 0), at=(0, 0, leg + h), present=~round_body)
    b.ellipsoid((w * 1.15, d * 1.25, h * 1.25), shirt, at=(0, 0, leg + h), present=round_body)
    shoulder = leg + 2 * h - 0.09
    _person_head(b, skin, r=r, z=leg + 2 * h + r * 0.85)
    skirt = b.chance(0.35)
    foot = w * b.uniform(0.45, 0.75)
    limb = torch.minimum(w * 0.42, b.uniform(0.09, 0.15))
    b.limb((w * 0.45, 0, leg + 0.05), (foot, 0, 0.06), limb * 1.1, lower, end_radius=limb * 0.9, mirror="x")
    shoe = b.plain(b.pick(p.dark, p.wood, p.accent), 0.5)
    b.box((limb, 0.12 + limb * 0.6, 0.07), shoe, rounding=0.05, at=(foot, -0.07, 0.03), mirror="x")
    long = leg * b.uniform(0.3, 0.48)
    gown = b.pattern(b.pick(p.main, p.second, p.accent), p.light, axis=2, chance=0.35, kinds=(1, 3, 5))
    b.cylinder(w * b.uniform(1.2, 1.9), long, gown, top=w * 0.85, at=(0, 0, leg + 0.06 - long + 0.05), present=skirt)
    b.box((w * 1.05, 0.06, (leg + h) * 0.62), b.plain(p.accent), rounding=0.03, grow=(-0.2, 0), rotate=(6, 0, 0),
          at=(0, d + 0.05, shoulder - (leg + h) * 0.6), present=b.chance(0.22))  # fmt: skip
    _person_arms(b, skin, shirt, at=(w, shoulder), radius=limb * 0.85, reach=h)


def _person_head(b: Builder, skin: Tensor, *, r: Tensor, z: Tensor) -> None:
    """Round or boxy head at height z with eyes, short or long hair and one of some hats."""
    p = b.palette
    hair = b.plain(b.pick(b.draws.choose(_HAIRS), b.draws.choose(_HAIRS), p.accent))
    boxy, long, hat, pointed = b.chance(0.25), b.chance(0.4), b.chance(0.45), b.chance(0.3)
    b.box((r * 0.85, r * 0.85, r * 0.9), skin, rounding=r * 0.2, at=(0, 0, z), present=boxy)
    b.ellipsoid((r * 0.92, r * 0.92, r), skin, at=(0, 0, z), present=~boxy)
    b.ellipsoid((r * 1.06, r * 1.02, r * 0.95), hair, at=(0, r * 0.22, z + r * 0.22), present=~boxy)
    b.box((r * 0.97, r * 0.9, r * 0.42), hair, rounding=0.04, at=(0, r * 0.1, z + r * 0.62), present=boxy)
    fall = r * b.uniform(0.6, 1.1)
    b.box((r * 0.9, r * 0.38, fall), hair, rounding=r * 0.25, at=(0, r * 0.72, z - fall * 0.6), present=long)
    b.sphere(r * 0.42, hair, at=(r * 0.75, r * 0.3, z + r * 0.8), mirror="x", present=~long & ~hat & b.chance(0.3))
    top = b.pattern(b.pick(p.main, p.accent, p.dark, p.metal), p.light, axis=2, chance=0.3, kinds=(1, 3))
    b.cylinder(r * b.uniform(1.1, 1.75), 0.055, top, at=(0, 0, z + r * 0.66), present=hat)
    tall = r * torch.where(pointed, b.uniform(0.6, 1.1), b.uniform(0.25, 0.6))
    narrow = r * torch.where(pointed, 0.08, b.uniform(0.6, 1.0))
    b.cylinder(r * 1.02, tall, top, top=narrow, rounding=0.04, at=(0, 0, z + r * 0.66 + tall), present=hat)
    eye = b.plain(p.dark * 0.4, 1.0)
    b.sphere(r * b.uniform(0.15, 0.22), eye, at=(r * 0.36, -r * 0.85, z + r * 0.02), mirror="x", operation="paint")


def _person_arms(
    b: Builder, skin: Tensor, shirt: Tensor, *, at: tuple[Tensor, Tensor], radius: Tensor, reach: Tensor
) -> None:
    """Two arms from shoulders at (x, z), alike or not: down, spread, forward or up; perhaps a staff in the right."""
    (w, z), p = at, b.palette
    sleeve = torch.where(b.chance(0.5)[:, None], shirt, skin)
    same, left = b.chance(0.5), [torch.zeros_like(w)] * 3
    for side in (-1, 1):
        pose = b.integer(0, 3)  # down, spread, forward, up
        out = torch.where(pose == 1, b.uniform(0.7, 1.0), b.uniform(0.2, 0.6))
        rise = torch.where(pose == 0, b.uniform(-1.2, -0.9), torch.where(pose == 3, b.uniform(0.4, 1.1), -0.25))
        push = torch.where(pose == 2, b.uniform(0.6, 1.0), b.uniform(0.0, 0.25))
        if side == 1:
            out, rise, push = (torch.where(same, x, y) for x, y in zip(left, (out, rise, push)))
        left = [out, rise, push]
        elbow = (side * (w + out * reach * 0.6), -push * reach * 0.3, z + rise * reach * 0.6)
        hand = (side * (w + out * reach * 0.85), -push * reach * 1.2, z + rise * reach * 1.3)
        b.limb((side * w * 0.75, 0, z), elbow, radius * 1.1, shirt, end_radius=radius)
        b.limb(elbow, hand, radius, sleeve, end_radius=radius * 1.1)
        b.sphere(radius * 1.15, skin, at=hand, operation="paint")
        if side == -1:
            low, high = hand[2] - b.uniform(0.3, 0.6), hand[2] + b.uniform(0.3, 0.8)
            b.limb((hand[0], hand[1], low), (hand[0], hand[1], high), 0.06, b.plain(p.wood), present=b.chance(0.2))


def turtle(b: Builder) -> None:
    """Low animal with a shell: tortoise on stumpy legs, sea turtle with flippers, or a snail on its foot."""
    p = b.palette
    skin = b.plain(b.pick(p.leaf, p.second, p.wood, p.main), 0.4)
    shell = b.pattern(
        b.pick(p.wood, p.main, p.accent, p.leaf * 0.7), b.pick(p.dark, p.light, p.second), axis=None, chance=0.7,
        kinds=(1, 2, 4, 5), period=(0.2, 0.5), gloss=0.5,
    )  # fmt: skip
    snail, sea = b.chance(0.25), b.chance(0.4)
    w, length, dome = b.uniform(0.4, 0.62), b.uniform(0.5, 0.72), b.uniform(0.25, 0.55)
    z = torch.where(sea, b.uniform(0.12, 0.2), b.uniform(0.2, 0.42))
    rim = b.plain(b.pick(p.second, p.wood, p.light, p.leaf))
    b.ellipsoid((w, length, dome), shell, at=(0, 0, z), present=~snail)
    b.box((w * 3, length * 3, 0.6), shell, at=(0, 0, z - 0.66), operation="subtract", present=~snail)
    b.ellipsoid((w * 1.08, length * 1.08, 0.11), rim, at=(0, 0, z), present=~snail)
    b.ellipsoid((w * 0.85, length * 0.88, 0.17), skin, at=(0, 0, z - 0.05), present=~snail)
    coil = dome * 0.7 + 0.2
    b.ellipsoid((coil * b.uniform(0.45, 0.75), coil, coil), shell, at=(0, 0.15, 0.12 + coil), present=snail)
    b.torus(coil * 0.5, coil * 0.36, shell, rotate=(0, 90, 0), at=(coil * 0.3, 0.15, 0.12 + coil), mirror="x",
            present=snail)  # fmt: skip
    b.capsule(length * 1.1, 0.2, skin, top=0.07, rotate=(-90, 0, 0), at=(0, 0.1, 0.1), present=snail)
    reach, rise = b.uniform(0.1, 0.3), b.uniform(0.05, 0.4)
    hy = -torch.where(snail, length * 1.0, length + reach)
    hz = torch.where(snail, 0.35 + rise, z + rise * 0.7)
    r = b.uniform(0.15, 0.25)
    b.limb((0, -length * 0.7, torch.where(snail, 0.12, z)), (0, hy, hz), r * 0.75, skin, blend=0.06)
    b.ellipsoid((r * 0.95, r * b.uniform(1.0, 1.35), r), skin, at=(0, hy - 0.05, hz))
    b.sphere(r * 0.35, b.plain(p.dark * 0.4, 1.0), at=(r * 0.6, hy - r * 0.75, hz + r * 0.4), mirror="x",
             present=~snail)  # fmt: skip
    b.limb((r * 0.4, hy, hz), (r * 0.9, hy - 0.1, hz + r + 0.16), 0.055, skin, end_radius=0.085, mirror="x",
           present=snail)  # fmt: skip
    leg = b.uniform(0.1, 0.16)
    b.limb((w * 0.6, length * 0.55, z - 0.02), (w * b.uniform(0.7, 0.95), length * b.uniform(0.6, 0.85), 0.04), leg,
           skin, mirror="xy", present=~snail & ~sea)  # fmt: skip
    for y, size in ((-length * 0.55, b.uniform(0.28, 0.42)), (length * 0.75, b.uniform(0.16, 0.26))):
        b.ellipsoid((size, size * 0.5, 0.075), skin, rotate=(0, 12, 28), at=(w * 0.7 + size * 0.6, y, z - 0.06),
                    mirror="x", present=~snail & sea)  # fmt: skip
    b.limb((0, length * 0.8, z), (0, length * 1.1 + 0.12, z - 0.08), 0.09, skin, end_radius=0.05, present=~snail)


def creature(b: Builder) -> None:
    """Little monster or alien: round, pear-shaped or boxy, one to three eyes, horns or antennae, arms, feet, tail."""
    p = b.palette
    skin = b.pattern(
        b.pick(p.main, p.accent, p.second, p.leaf), b.pick(p.second, p.light, p.accent), axis=2, chance=0.5,
        kinds=(1, 4, 5), period=(0.2, 0.45), gloss=0.4,
    )  # fmt: skip
    pale, dark = b.plain(b.pick(p.light, p.second, p.accent)), b.plain(p.dark * 0.5, 0.8)
    w, h, shape = b.uniform(0.36, 0.55), b.uniform(0.38, 0.72), b.integer(0, 2)
    d = w * b.uniform(0.75, 1.0)
    b.ellipsoid((w, d, h), skin, present=shape == 0)
    b.capsule(h * 0.55, w, skin, top=w * b.uniform(0.5, 0.75), at=(0, 0, -0.1), present=shape == 1)
    b.box((w, d, h), skin, rounding=0.16, grow=(b.uniform(-0.2, 0.15), 0), present=shape == 2)
    b.ellipsoid((w * 0.62, 0.3, h * 0.5), pale, at=(0, -d, -h * 0.5), operation="paint", present=b.chance(0.4))
    top = torch.where(shape == 1, h * 0.55 - 0.1 + w * 0.55, h)
    _creature_face(b, size=(w, d, top), shape=shape)
    horns, crest = b.chance(0.5), b.chance(0.25)
    rise, lean = b.uniform(0.14, 0.26), b.uniform(0.1, 0.5)
    x = w * b.uniform(0.3, 0.5)
    b.limb((x, 0, top * 0.72), (x + lean * 0.5, 0, top + rise), 0.14, pale, end_radius=0.045, mirror="x", present=horns)
    b.limb((x, 0, top * 0.72), (x + lean * 0.4, -0.05, top + rise + 0.12), 0.06, skin, mirror="x", present=~horns)
    b.sphere(b.uniform(0.08, 0.13), pale, at=(x + lean * 0.4, -0.05, top + rise + 0.12), mirror="x", present=~horns)
    b.box((0.06, 0.15, 0.15), pale, rounding=0.03, grow=(0, -0.85), rotate=(-75, 0, 0), at=(0, d * 0.85 + 0.08, 0),
          array=(1, h * 0.45, 3), present=crest)  # fmt: skip
    arm, z, up = b.uniform(0.08, 0.14), -h * b.uniform(0.0, 0.3), b.uniform(-0.4, 0.45)
    hand = (w + b.uniform(0.15, 0.4), -b.uniform(0.0, 0.3), z + up)
    b.limb((w * 0.7, 0, z), hand, arm, skin, end_radius=arm * b.uniform(0.8, 1.5), mirror="x", present=b.chance(0.85))
    many = b.chance(0.2)
    leg, foot = b.uniform(0.05, 0.35), b.uniform(0.13, 0.2)
    low = -torch.where(shape == 1, h * 0.55 + 0.1 + w, h)
    b.limb((w * 0.42, 0, low + 0.2), (w * 0.48, 0, low - leg), foot * 0.85, skin, mirror="x", present=~many)
    b.ellipsoid((foot, foot * 1.35, 0.1), pale, at=(w * 0.5, -0.08, low - leg - 0.04), mirror="x", present=~many)
    b.capsule(0.2, 0.07, skin, top=0.13, rotate=(0, 0, 30), at=(0, 0, low + 0.06), radial=(b.integer(4, 6), w * 0.6),
              present=many)  # fmt: skip
    b.limb((0, d * 0.7, low * 0.6), (0, d + b.uniform(0.2, 0.45), low * 0.6 + b.uniform(-0.1, 0.4)), 0.14, skin,
           end_radius=0.06, present=b.chance(0.4))  # fmt: skip
    b.box((w * 2, d * 2, 0.12), dark, at=(0, 0, low - leg - 0.1), operation="paint", present=~many & b.chance(0.3))


def _creature_face(b: Builder, *, size: tuple[Tensor, Tensor, Tensor], shape: Tensor) -> None:
    """One to three eyes on the front of a body of half sizes `size`, and a mouth with teeth."""
    p, (w, d, top) = b.palette, size
    n = b.integer(1, 3)
    r = torch.where(n == 1, b.uniform(0.18, 0.28), torch.where(n == 2, b.uniform(0.11, 0.18), b.uniform(0.09, 0.13)))
    z = top * b.uniform(0.25, 0.45)
    y = -torch.where(shape == 2, d, torch.where(shape == 1, w * 0.72, d * 0.88))
    gap = r * b.uniform(1.9, 2.3)
    b.sphere(r, b.plain(p.light, 1.0), at=(0, y, z), array=(0, gap, n))
    b.sphere(r * 0.62, b.plain(p.dark * 0.4, 1.0), at=(0, y - r * 0.85, z), array=(0, gap, n), operation="paint")
    mouth_w, mouth_z = w * b.uniform(0.3, 0.6), z - r - b.uniform(0.12, 0.2)
    b.ellipsoid((mouth_w, 0.35, b.uniform(0.06, 0.13)), b.plain(p.dark * 0.6), at=(0, y, mouth_z), operation="paint")
    teeth = b.plain(p.light)
    b.box((0.05, 0.35, 0.06), teeth, at=(0, y, mouth_z + 0.06), array=(0, 0.17, b.integer(1, 3)), operation="paint",
          present=b.chance(0.7))  # fmt: skip
