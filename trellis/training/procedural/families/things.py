"""Figures, vehicles and things: person, turtle, creature, bus, tractor, helicopter, church, chest, shield."""

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
    """Standing figure, big-headed or tall: hair or a hat, clothes, arms in a pose, legs or a skirt, cape, staff."""
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
    narrow = r * torch.where(pointed, 0.08 + torch.zeros_like(r), b.uniform(0.6, 1.0))
    b.cylinder(r * 1.02, tall, top, top=narrow, rounding=0.04, at=(0, 0, z + r * 0.66 + tall), present=hat)
    eye = b.plain(p.dark * 0.4, 1.0)
    b.sphere(r * b.uniform(0.15, 0.22), eye, at=(r * 0.36, -r * 0.85, z + r * 0.02), mirror="x", operation="paint")


def _person_arms(
    b: Builder, skin: Tensor, shirt: Tensor, *, at: tuple[Tensor, Tensor], radius: Tensor, reach: Tensor
) -> None:
    """Two arms from shoulders at (x, z), alike or not: down, spread, forward or up; perhaps a staff in the right."""
    (w, z), p = at, b.palette
    sleeve = torch.where(b.chance(0.5)[:, None], shirt, skin)
    same, near, down, ahead = b.chance(0.5), torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(w)
    for side in (-1, 1):
        pose = b.integer(0, 3)  # down, spread, forward, up
        out = torch.where(pose == 1, b.uniform(0.7, 1.0), b.uniform(0.2, 0.6))
        rise = torch.where(pose == 0, b.uniform(-1.2, -0.9), torch.where(pose == 3, b.uniform(0.4, 1.1), -0.25))
        push = torch.where(pose == 2, b.uniform(0.6, 1.0), b.uniform(0.0, 0.25))
        if side == 1:
            out, rise, push = (torch.where(same, x, y) for x, y in ((near, out), (down, rise), (ahead, push)))
        near, down, ahead = out, rise, push
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


def bus(b: Builder) -> None:
    """Long bus, double-decker, school bus with a bonnet or a short van: rows of windows, doors, wheels, roof gear."""
    p = b.palette
    paint = b.pattern(b.pick(p.main, p.accent, p.second, p.light), p.light, axis=2, chance=0.3, kinds=(1, 3), gloss=0.8)
    van, double = b.chance(0.35), b.chance(0.3)
    bonnet = b.chance(0.4) & (van | ~double)
    w, wheel = b.uniform(0.34, 0.44), b.uniform(0.15, 0.2)
    half = torch.where(van, b.uniform(0.62, 0.8), b.uniform(0.9, 1.25))
    h = torch.where(double & ~van, b.uniform(0.5, 0.62), b.uniform(0.28, 0.38))
    floor = wheel * b.uniform(0.7, 1.1)
    z = floor + h
    slope = torch.where(van, b.uniform(-0.25, -0.05), b.uniform(-0.05, 0.0))
    b.box((w, half, h), paint, rounding=b.uniform(0.04, 0.14), grow=(b.uniform(-0.1, 0), slope), at=(0, 0, z))
    nose = b.uniform(0.15, 0.26)
    b.box((w * 0.85, nose + 0.05, h * 0.42), paint, rounding=0.06, at=(0, -half - nose * 0.8, floor + h * 0.42),
          present=bonnet)  # fmt: skip
    glass = b.plain(p.dark * 0.6 + p.glass * 0.4, 1.0)
    n = torch.where(van, b.integer(2, 3), b.integer(3, 6))
    pitch = half * 1.75 / n
    rise = torch.where(double & ~van, 0.55, 0.35) * h
    tall = torch.where(double & ~van, 0.17, 0.3) * h
    b.box((w * 2, pitch * 0.4, tall), glass, at=(0, 0, z + rise), array=(1, pitch, n), operation="paint")
    b.box((w * 2, pitch * 0.4, tall), glass, at=(0, 0, z - h * 0.2), array=(1, pitch, n), operation="paint",
          present=double & ~van)  # fmt: skip
    b.box((w * 0.82, half * 0.5, tall * 1.15), glass, at=(0, -half, z + rise), operation="paint")
    b.box((w * 0.7, half * 0.3, tall), glass, at=(0, half, z + rise), operation="paint")
    stripe = b.plain(b.pick(p.accent, p.light, p.dark), 0.6)
    b.box((w * 2, half * 2, h * b.uniform(0.08, 0.16)), stripe, at=(0, 0, z - h * 0.5), operation="paint",
          present=b.chance(0.6))  # fmt: skip
    door = b.plain(b.pick(p.dark, p.glass, p.metal), 0.8)
    b.box((w * 0.5, 0.13, h * 0.72), door, at=(w, -half * 0.68, z - h * 0.1), operation="paint")
    tyre, hub = b.plain(p.dark * 0.8), b.plain(b.pick(p.metal, p.light), 0.7)
    axle, third = half * b.uniform(0.55, 0.66), b.chance(0.25)
    b.cylinder(wheel, 0.09, tyre, rotate=(0, 90, 0), at=(w * 0.95, axle, wheel), mirror="xy")
    b.cylinder(wheel, 0.09, tyre, rotate=(0, 90, 0), at=(w * 0.95, axle - wheel * 2.1, wheel), mirror="x",
               present=third & ~van)  # fmt: skip
    b.cylinder(wheel * 0.5, 0.2, hub, rotate=(0, 90, 0), at=(w, axle, wheel), mirror="xy", operation="paint")
    _bus_gear(b, size=(w, half, h), floor=floor, front=-half - torch.where(bonnet, nose * 1.8, 0.0))


def _bus_gear(b: Builder, *, size: tuple[Tensor, Tensor, Tensor], floor: Tensor, front: Tensor) -> None:
    """Lamps, bumpers and something on the roof: a box, a rack with luggage or a siren."""
    p, (w, half, h) = b.palette, size
    lamp = b.plain(torch.tensor([1.0, 0.95, 0.7]).expand(b.count, 3), 0.8)
    b.sphere(b.uniform(0.08, 0.11), lamp, at=(w * 0.62, front, floor + h * 0.35), mirror="x", operation="paint")
    b.box((w * 0.95, 0.06, 0.06), b.plain(b.pick(p.metal, p.dark), 0.8), rounding=0.03, at=(0, front, floor + 0.05))
    luggage = b.plain(b.pick(p.light, p.wood, p.accent))
    b.box((w * b.uniform(0.3, 0.8), half * b.uniform(0.15, 0.5), b.uniform(0.06, 0.12)), luggage,
          at=(0, half * b.uniform(-0.2, 0.3), floor + 2 * h + 0.04), present=b.chance(0.4))  # fmt: skip
    b.box((w * 0.6, 0.09, 0.075), b.plain(p.accent, 0.9), rounding=0.04, at=(0, -half * 0.6, floor + 2 * h + 0.04),
          present=b.chance(0.25))  # fmt: skip


def tractor(b: Builder) -> None:
    """Big rear wheels and small front ones, bonnet, cab or open seat under a canopy, exhaust, perhaps a loader."""
    p = b.palette
    paint = b.plain(b.pick(p.main, p.accent, p.second), 0.7)
    dark, rim = b.plain(p.dark * 0.8), b.plain(b.pick(p.accent, p.light, p.metal, p.main), 0.6)
    big, small = b.uniform(0.36, 0.52), b.uniform(0.18, 0.3)
    w, half = b.uniform(0.17, 0.26), b.uniform(0.75, 0.95)
    rear, ahead = half * 0.5, -half * b.uniform(0.55, 0.8)
    axle = big * b.uniform(0.9, 1.1)
    hood = b.uniform(0.15, 0.22)
    b.box((w * 0.7, half * 0.85, 0.12), dark, at=(0, 0, small + 0.1))
    b.box((w, half * 0.55, hood), paint, rounding=b.uniform(0.03, 0.1), grow=(b.uniform(-0.15, 0), 0),
          at=(0, -half * 0.5, small + hood + 0.12))  # fmt: skip
    b.box((w * 0.75, 0.15, hood * 0.6), dark, at=(0, -half * 1.05, small + hood + 0.12), operation="paint")
    thick = b.uniform(0.1, 0.16)
    x = w + thick * 0.9
    b.box((w * 1.1, half * 0.35, 0.2), paint, rounding=0.05, at=(0, rear, axle))
    b.cylinder(big, thick, dark, rounding=0.05, rotate=(0, 90, 0), at=(x, rear, big), mirror="x")
    b.cylinder(big * 0.55, thick * 3, rim, rotate=(0, 90, 0), at=(x, rear, big), mirror="x", operation="paint")
    narrow = b.uniform(0.4, 1.0)
    b.cylinder(small, thick * 0.75, dark, rounding=0.04, rotate=(0, 90, 0), at=(x * narrow, ahead, small), mirror="x")
    b.cylinder(small * 0.5, thick * 2, rim, rotate=(0, 90, 0), at=(x * narrow, ahead, small), mirror="x",
               operation="paint")  # fmt: skip
    b.torus(big + 0.02, 0.075, paint, half_angle=b.uniform(0.9, 1.4), rotate=(90, 0, 90), at=(x, rear, big),
            mirror="x", present=b.chance(0.65))  # fmt: skip
    _tractor_cab(b, paint, at=(rear - 0.02, axle + 0.1), width=w * 1.15)
    pipe_y, pipe = -half * b.uniform(0.4, 0.75), small + 2 * hood + b.uniform(0.25, 0.5)
    b.limb(
        (w * b.uniform(-0.6, 0.6), pipe_y, small + hood),
        (w * 0.3, pipe_y, pipe),
        0.06,
        b.plain(p.metal, 0.8),
        flat=True,
    )
    loader = b.chance(0.3)
    low = b.uniform(0.1, 0.6)
    b.limb((w + 0.03, -0.1, axle + 0.1), (w + 0.03, -half * 1.25, low + 0.1), 0.065, rim, mirror="x", present=loader)
    b.box((w + 0.22, 0.16, 0.16), rim, grow=(0, -0.5), shear=(0, 0.06), at=(0, -half * 1.3, low), present=loader)


def _tractor_cab(b: Builder, paint: Tensor, *, at: tuple[Tensor, Tensor], width: Tensor) -> None:
    """A glazed cab, or a seat and steering wheel with or without a canopy, standing at (y, z)."""
    p, (y, z) = b.palette, at
    cab, canopy = b.chance(0.5), b.chance(0.5)
    h, d = b.uniform(0.28, 0.38), b.uniform(0.22, 0.3)
    b.box((width, d, h), paint, rounding=0.04, grow=(b.uniform(-0.15, 0.1), b.uniform(-0.2, 0)), at=(0, y, z + h),
          present=cab)  # fmt: skip
    glass = b.plain(p.dark * 0.4 + p.glass * 0.6, 1.0)
    b.box((width * 2, d * 0.68, h * 0.5), glass, at=(0, y, z + h * 1.2), operation="paint", present=cab)
    b.box((width * 0.75, d * 2, h * 0.5), glass, at=(0, y, z + h * 1.2), operation="paint", present=cab)
    b.box((width * 1.15, d * 1.2, 0.06), b.plain(b.pick(p.light, p.accent, p.dark)), rounding=0.03,
          at=(0, y, z + 2 * h + 0.02), present=cab | canopy)  # fmt: skip
    seat = b.plain(b.pick(p.dark, p.wood, p.accent))
    b.box((width * 0.6, 0.16, 0.08), seat, rounding=0.04, at=(0, y + 0.02, z + 0.1), present=~cab)
    b.box((width * 0.6, 0.06, 0.18), seat, rounding=0.04, at=(0, y + 0.2, z + 0.22), present=~cab)
    b.limb((0, y - d - 0.1, z - 0.05), (0, y - d + 0.06, z + 0.24), 0.065, seat, end_radius=0.09, present=~cab)
    b.box((0.055, 0.055, h), paint, rounding=0.01, at=(width * 0.95, y + d * 0.9, z + h), mirror="x",
          present=~cab & canopy)  # fmt: skip


def helicopter(b: Builder) -> None:
    """Round or long cabin, tail boom with a rotor, one or two main rotors, skids or wheels, perhaps pods or floats."""
    p = b.palette
    paint = b.pattern(
        b.pick(p.main, p.accent, p.light, p.leaf * 0.8), p.light, axis=2, chance=0.45, kinds=(1, 3), gloss=0.7
    )
    dark, trim = b.plain(b.pick(p.dark, p.metal), 0.5), b.plain(b.pick(p.accent, p.second, p.dark), 0.6)
    tandem, boxy = b.chance(0.2), b.chance(0.35)
    w, h = b.uniform(0.24, 0.38), b.uniform(0.24, 0.36)
    half = torch.where(tandem, b.uniform(0.75, 0.95), b.uniform(0.36, 0.58))
    b.ellipsoid((w, half, h), paint, present=~boxy)
    b.box((w * 0.9, half * 0.95, h * 0.9), paint, rounding=0.12, grow=(-0.1, b.uniform(-0.2, 0)), present=boxy)
    glass = b.plain(p.dark * 0.5 + p.glass * 0.5, 1.0)
    b.ellipsoid(
        (w * 1.2, half * b.uniform(0.4, 0.65), h * 0.75), glass, at=(0, -half * 0.95, h * 0.28), operation="paint"
    )
    b.box((w * 2, half * 0.2, h * 0.3), glass, at=(0, half * 0.2, h * 0.25), operation="paint", present=b.chance(0.6))
    tail, lift = half + b.uniform(0.45, 0.8), h * b.uniform(0.1, 0.6)
    _helicopter_tail(b, paint, trim, start=half * 0.4, end=tail, z=lift, present=~tandem)
    mast = h + b.uniform(0.1, 0.22)
    my = torch.where(tandem, -half * 0.72, b.uniform(-0.05, 0.1))
    b.box((w * 0.5, half * 0.45, 0.12), trim, rounding=0.05, at=(0, half * 0.2, h * 0.9), present=~tandem)
    b.cylinder(0.08, mast / 2, dark, at=(0, my, mast / 2))
    n, length, turn = b.integer(2, 5), b.uniform(0.6, 0.95), b.uniform(0, 90)
    reach = torch.where(tandem, half * 0.95, length)
    blade = b.plain(b.pick(p.dark, p.metal, p.light), 0.4)
    wide = b.uniform(0.07, 0.1)
    b.box((reach / 2, wide, 0.06), blade, rounding=0.02, rotate=(0, 0, turn), at=(0, my, mast), radial=(n, reach / 2))
    b.sphere(0.12, dark, at=(0, my, mast))
    b.limb((0, half * 0.7, 0), (0, half * 0.75, mast + 0.16), w * 0.6, paint, end_radius=0.12, present=tandem)
    b.box((reach / 2, wide, 0.06), blade, rounding=0.02, rotate=(0, 0, turn + 30), at=(0, half * 0.75, mast + 0.3),
          radial=(n, reach / 2), present=tandem)  # fmt: skip
    skids, drop = b.chance(0.65), h + b.uniform(0.12, 0.22)
    b.capsule(half * 0.85, b.uniform(0.06, 0.1), dark, rotate=(90, 0, 0), at=(w * 0.85, 0, -drop), mirror="x",
              present=skids)  # fmt: skip
    b.limb((w * 0.4, half * 0.45, -h * 0.5), (w * 0.85, half * 0.5, -drop), 0.06, dark, mirror="xy", present=skids)
    b.cylinder(0.12, 0.08, dark, rotate=(0, 90, 0), at=(w * 0.75, half * 0.6, -h * 0.85), mirror="xy", present=~skids)
    pods = b.chance(0.3)
    b.capsule(
        b.uniform(0.1, 0.22), 0.1, trim, rotate=(90, 0, 0), at=(w + 0.14, 0.05, -h * 0.3), mirror="x", present=pods
    )
    b.box((w + 0.15, 0.1, 0.05), paint, at=(0, 0.05, -h * 0.3), present=pods)


def _helicopter_tail(
    b: Builder, paint: Tensor, trim: Tensor, *, start: Tensor, end: Tensor, z: Tensor, present: Tensor
) -> None:
    """Boom from y = start to y = end at height z, with a fin, a small rotor at its side and a tail plane."""
    b.limb((0, start, z * 0.6), (0, end, z), b.uniform(0.12, 0.18), paint, end_radius=0.07, present=present)
    fin = b.uniform(0.14, 0.24)
    b.box((0.055, 0.11, fin), trim, rounding=0.02, grow=(0, -0.3), shear=(0, 0.1), at=(0, end, z + fin * 0.75),
          present=present)  # fmt: skip
    b.box((b.uniform(0.18, 0.28), 0.09, 0.05), trim, rounding=0.02, at=(0, end - 0.15, z), present=present)
    size = b.uniform(0.16, 0.26)
    b.box((0.05, 0.055, size), b.plain(b.palette.dark), rounding=0.01, rotate=(b.uniform(0, 180), 0, 0),
          at=(0.1, end + 0.04, z + fin * 0.6), present=present)  # fmt: skip


def church(b: Builder) -> None:
    """Nave with a roof, front door and rows of windows; tower before it, beside it or on it, or twin towers."""
    p = b.palette
    wall = b.pattern(
        b.pick(p.light, p.metal, p.wood, p.main), p.light, axis=2, chance=0.3, kinds=(1, 2), period=(0.15, 0.3)
    )
    roof = b.pattern(
        b.pick(p.accent, p.dark, p.second, p.wood), p.dark, axis=2, chance=0.3, kinds=(1,), period=(0.15, 0.25)
    )
    w, d, h = b.uniform(0.28, 0.44), b.uniform(0.45, 0.85), b.uniform(0.22, 0.42)
    b.box((w, d, h), wall, at=(0, 0, h))
    pitch = b.uniform(0.16, 0.36)
    b.box(((w + 0.07) * 0.52, d + 0.05, pitch), roof, rounding=0.02, grow=(-0.94, 0), at=(0, 0, 2 * h + pitch - 0.03))
    wing = b.chance(0.3)
    b.box((w + b.uniform(0.15, 0.3), d * 0.28, h * 0.85), wall, at=(0, d * 0.35, h * 0.85), present=wing)
    b.box(
        (w + b.uniform(0.15, 0.3), d * 0.17, 0.14), roof, grow=(0, -0.9), at=(0, d * 0.35, h * 1.7 + 0.12), present=wing
    )
    b.cylinder(w * 0.75, h * 0.85, wall, at=(0, d, h * 0.85), present=b.chance(0.4))
    glass = b.plain(b.pick(p.glass, p.accent, p.dark), 0.9)
    n = b.integer(2, 4)
    b.box((w * 3, 0.055, h * 0.34), glass, at=(0, 0, h * 1.05), array=(1, d * 1.7 / n, n), operation="paint")
    b.cylinder(
        0.055, w * 3, glass, rotate=(0, 90, 0), at=(0, 0, h * 1.38), array=(1, d * 1.7 / n, n), operation="paint"
    )
    front = _church_tower(b, wall, roof, glass, size=(w, d, h), ridge=2 * h + 2 * pitch)
    door, dw, dh = b.plain(b.pick(p.wood, p.dark, p.accent)), b.uniform(0.09, 0.14), b.uniform(0.13, 0.2)
    b.box((dw, 0.06, dh), door, at=(0, front, dh))
    b.cylinder(dw, 0.06, door, rotate=(90, 0, 0), at=(0, front, 2 * dh), present=b.chance(0.7))
    b.cylinder(b.uniform(0.09, 0.14), 0.1, glass, rotate=(90, 0, 0), at=(0, front, 2 * h), operation="paint")
    b.box((w + 0.2, d + 0.3, 0.05), b.plain(b.pick(p.leaf, p.metal)), at=(0, 0, 0), present=b.chance(0.35))


def _church_tower(
    b: Builder, wall: Tensor, roof: Tensor, glass: Tensor, *, size: tuple[Tensor, Tensor, Tensor], ridge: Tensor
) -> Tensor:
    """The tower or towers of a nave of half sizes `size`, with spires or domes; the y of the wall with the door."""
    w, d, _ = size
    place = b.integer(0, 3)  # before the front, beside it, on the ridge, twins
    t = torch.where(place == 3, b.uniform(0.14, 0.18), b.uniform(0.17, 0.25))
    side = torch.where(b.chance(0.5), 1.0, -1.0) * (w + t * 0.6)
    x = torch.where(place == 1, side, 0.0)
    y = torch.where(place == 0, -d - t * 0.6, torch.where(place == 2, -d * 0.4, -d + t * b.uniform(0.6, 1.0)))
    top = torch.where(place == 2, ridge + b.uniform(0.05, 0.25), ridge + b.uniform(0.0, 0.5))
    twins = (0, 2 * w, torch.where(place == 3, 2.0, 1.0))
    round_tower, style = b.chance(0.25), b.integer(0, 2)
    b.box((t, t, top / 2), wall, at=(x, y, top / 2), array=twins, present=~round_tower)
    b.cylinder(t, top / 2, wall, at=(x, y, top / 2), array=twins, present=round_tower)
    b.box((0.06, t * 2, 0.1), glass, at=(x, y, top - 0.2), array=twins, operation="paint")
    b.box((t * 2, 0.06, 0.1), glass, at=(x, y, top - 0.2), operation="paint", present=place != 3)
    spire = b.uniform(0.16, 0.42)
    b.box((t * 0.6, t * 0.6, spire), roof, rounding=0.02, grow=(-0.9, -0.9), at=(x, y, top + spire - 0.03),
          array=twins, present=(style == 0) & ~round_tower)  # fmt: skip
    b.cylinder(t * 1.1, spire, roof, top=0.04, at=(x, y, top + spire - 0.03), array=twins,
               present=(style == 0) & round_tower)  # fmt: skip
    b.ellipsoid((t * 1.1, t * 1.1, t * b.uniform(0.9, 1.4)), roof, at=(x, y, top + 0.05), array=twins,
                present=style == 1)  # fmt: skip
    b.box((t * 1.12, t * 0.6, 0.13), roof, grow=(0, -0.9), at=(x, y, top + 0.1), array=twins, present=style == 2)
    peak = top + torch.where(style == 0, 2 * spire, torch.where(style == 1, t * 1.1, 0.2 + torch.zeros_like(t)))
    cross = b.plain(b.pick(b.palette.metal, b.palette.dark), 0.8)
    bare = b.chance(0.25)
    b.box((0.055, 0.055, 0.17), cross, rounding=0.01, at=(x, y, peak + 0.05), array=twins, present=~bare)
    b.box((0.13, 0.055, 0.05), cross, rounding=0.01, at=(x, y, peak + 0.09), array=twins, present=~bare & (place != 3))
    return torch.where(place == 0, y - t, -d)


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
