"""Creatures and figures: robot, snowman, fish, bird, quadruped, bear."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def robot(b: Builder) -> None:
    """Box or barrel body, head with eyes, antenna, jointed arms and legs or a wheel base."""
    p = b.palette
    body = b.pattern(b.pick(p.main, p.metal, p.second), p.accent, axis=2, chance=0.3, gloss=0.8)
    limb, joint = b.plain(b.pick(p.metal, p.dark, p.second), 0.8), b.plain(p.accent, 0.6)
    w, d, h = b.uniform(0.28, 0.42), b.uniform(0.2, 0.3), b.uniform(0.28, 0.42)
    leg = b.uniform(0.25, 0.5)
    z = leg + h
    barrel = b.chance(0.3)
    b.box(
        (w, d, h), body, rounding=b.uniform(0.03, 0.14), grow=(b.uniform(-0.2, 0.2), 0), at=(0, 0, z), present=~barrel
    )
    b.cylinder(w * 0.9, h, body, rounding=0.06, top=w * b.uniform(0.75, 1.0), at=(0, 0, z), present=barrel)
    hw, hh = w * b.uniform(0.55, 0.95), b.uniform(0.16, 0.25)
    hz = z + h + hh + 0.05
    head = b.plain(b.pick(p.main, p.metal, p.light), 0.8)
    ball = b.chance(0.3)
    b.box((hw, d * 0.85, hh), head, rounding=b.uniform(0.03, 0.1), at=(0, 0, hz), present=~ball)
    b.sphere(hh * 1.25, head, at=(0, 0, hz), present=ball)
    b.cylinder(0.1, 0.12, limb, at=(0, 0, z + h))
    face = torch.where(ball, hh * 1.05, d * 0.8)
    eye = b.uniform(0.06, 0.085)
    b.sphere(eye, b.plain(b.pick(p.glass, p.accent, p.light), 1.0), at=(hw * 0.42, -face, hz + hh * 0.2), mirror="x")
    b.box((hw * 0.45, 0.3, 0.04), b.plain(p.dark), at=(0, -face, hz - hh * 0.45), operation="paint")
    antenna = b.chance(0.6)
    b.cylinder(0.05, 0.11, limb, at=(0, 0, hz + hh + 0.1), present=antenna)
    b.sphere(0.075, joint, at=(0, 0, hz + hh + 0.22), present=antenna)
    sx, sz = w + 0.08, z + h * 0.65
    ex, ez, ey = sx + b.uniform(0.03, 0.2), sz - b.uniform(-0.05, 0.25), b.uniform(-0.15, 0.05)
    hx, hy, hz2 = ex + b.uniform(-0.05, 0.12), ey - b.uniform(0.0, 0.25), ez + b.uniform(-0.3, 0.25)
    r = b.uniform(0.06, 0.085)
    b.limb((w * 0.8, 0, sz), (ex, ey, ez), r, limb, mirror="x")
    b.limb((ex, ey, ez), (hx, hy, hz2), r, limb, mirror="x")
    b.sphere(r * 1.7, joint, at=(hx, hy, hz2), mirror="x")
    wheels = b.chance(0.25)
    b.limb((w * 0.5, 0, leg + 0.1), (w * 0.55, 0, 0.06), r * 1.2, limb, mirror="x", present=~wheels)
    b.box((w * 0.34, d * 0.9, 0.08), joint, rounding=0.05, at=(w * 0.55, -0.05, 0.06), mirror="x", present=~wheels)
    b.cylinder(
        leg * 0.6, 0.12, b.plain(p.dark), rotate=(0, 90, 0), at=(w * 0.7, 0, leg * 0.5), mirror="x", present=wheels
    )
    b.box((w * 0.9, d * 0.7, leg * 0.3), limb, at=(0, 0, leg * 0.75), present=wheels)
    b.box(
        (w * 0.5, d * 2, h * 0.35),
        b.pattern(p.light, p.dark, axis=0, chance=0.6, period=(0.15, 0.3)),
        at=(0, -d * 1.8, z + h * 0.2),
        operation="paint",
    )


def snowman(b: Builder) -> None:
    """Two or three balls, hat, carrot nose, buttons, stick arms and a scarf."""
    p = b.palette
    snow = b.plain(p.light, 0.1)
    r1 = b.uniform(0.42, 0.56)
    r2, r3 = r1 * b.uniform(0.66, 0.85), r1 * b.uniform(0.48, 0.66)
    z2 = r1 + r2 * 0.75
    three = b.chance(0.75)
    z3 = torch.where(three, z2 + r2 + r3 * 0.55, r1 + r3 * 0.85)
    b.sphere(r1, snow, at=(0, 0, 0.12))
    b.sphere(r2, snow, at=(0, 0, z2), blend=0.04, present=three)
    b.sphere(r3, snow, at=(0, 0, z3), blend=0.04)
    coal = b.plain(p.dark)
    b.sphere(0.06, coal, at=(r3 * 0.38, -r3 * 0.86, z3 + r3 * 0.25), mirror="x")
    carrot = b.plain(torch.tensor([0.95, 0.5, 0.12]).expand(b.count, 3))
    b.limb((0, -r3 * 0.8, z3), (0, -r3 - b.uniform(0.12, 0.3), z3 - 0.02), 0.075, carrot, end_radius=0.035)
    waist, rw = torch.where(three, z2, 0.12 + r1 * 0.3), torch.where(three, r2, r1 * 0.95)
    b.sphere(0.065, b.plain(b.pick(p.dark, p.accent)), at=(0, -rw * 0.97, waist), array=(2, rw * 0.5, b.integer(2, 3)))
    hat = b.chance(0.8)
    hat_cloth = b.pattern(b.pick(p.dark, p.main), p.accent, axis=2, chance=0.5)
    brim = r3 * b.uniform(1.0, 1.3)
    b.cylinder(brim, 0.05, hat_cloth, at=(0, 0, z3 + r3 * 0.78), present=hat)
    b.cylinder(
        r3 * 0.72,
        b.uniform(0.12, 0.25),
        hat_cloth,
        top=r3 * b.uniform(0.3, 0.8),
        at=(0, 0, z3 + r3 + 0.12),
        present=hat,
    )
    scarf = b.chance(0.7)
    cloth = b.pattern(b.pick(p.main, p.accent), p.light, axis=0, chance=0.5)
    zs = z3 - r3 * 0.78
    b.torus(r3 * 0.75, 0.085, cloth, at=(0, 0, zs), present=scarf)
    b.box(
        (0.09, 0.05, 0.2), cloth, rounding=0.03, rotate=(-12, 0, 0), at=(r3 * 0.4, -r3 * 0.95, zs - 0.2), present=scarf
    )
    arms = b.chance(0.8)
    up = b.uniform(-0.1, 0.4)
    zw = torch.where(three, z2, z3 - r3)
    b.limb(
        (rw * 0.8, 0, zw), (rw + b.uniform(0.3, 0.5), -0.1, zw + up), 0.05, b.plain(p.wood), mirror="x", present=arms
    )


def fish(b: Builder) -> None:
    """Ellipsoid body tapering to a forked tail, fins, eyes; on a slim or a tall body."""
    p = b.palette
    skin = b.pattern(
        b.pick(p.main, p.accent, p.metal), b.pick(p.second, p.light), axis=1, chance=0.75, period=(0.25, 0.6), gloss=0.7
    )
    fin = b.plain(b.pick(p.second, p.accent, p.main), 0.4)
    half, tall, w = b.uniform(0.6, 0.8), b.uniform(0.28, 0.55), b.uniform(0.16, 0.28)
    b.ellipsoid((w, half, tall), skin)
    b.limb((0, half * 0.3, 0), (0, half * 1.1, 0), w * 0.7, skin, end_radius=0.07, blend=0.12)
    tail, fork = b.uniform(0.2, 0.36), b.uniform(15, 55)
    b.box(
        (0.05, 0.1, tail / 2 + 0.06),
        fin,
        rounding=0.03,
        grow=(0, 0.4),
        rotate=(-fork, 0, 0),
        at=(0, half * 1.12 + 0.06, tail * 0.45),
    )
    b.box(
        (0.05, 0.1, tail / 2 + 0.06),
        fin,
        rounding=0.03,
        grow=(0, 0.4),
        rotate=(180 + fork, 0, 0),
        at=(0, half * 1.12 + 0.06, -tail * 0.45),
    )
    _fish_fins(b, fin, size=(w, half, tall))
    ey, ez = -half * 0.68, tall * 0.22
    side = w * 0.68
    b.sphere(0.085, b.plain(p.light, 0.9), at=(side, ey, ez), mirror="x")
    b.sphere(0.055, b.plain(p.dark * 0.4, 1.0), at=(side + 0.06, ey - 0.03, ez), mirror="x", operation="paint")
    b.ellipsoid((w * 0.5, 0.1, 0.06), b.plain(p.accent), at=(0, -half * 0.98, -tall * 0.05), present=b.chance(0.6))


def _fish_fins(b: Builder, fin: Tensor, *, size: tuple[Tensor, Tensor, Tensor]) -> None:
    """Fins on the back, below and at both sides of a body of half width, half length and half height `size`."""
    w, half, tall = size
    top = b.uniform(0.14, 0.28)
    b.box(
        (0.045, b.uniform(0.18, 0.4), top),
        fin,
        rounding=0.03,
        grow=(0, b.uniform(-0.6, 0)),
        shear=(0, 0.12),
        at=(0, b.uniform(-0.1, 0.15), tall * 0.85),
    )
    b.box(
        (0.045, 0.16, 0.13),
        fin,
        rounding=0.03,
        grow=(0, 0.4),
        shear=(0, -0.08),
        at=(0, half * 0.25, -tall * 0.95),
        present=b.chance(0.6),
    )
    b.box(
        (0.04, 0.12, 0.16),
        fin,
        rounding=0.03,
        grow=(0, 0.3),
        rotate=(115, 0, 38),
        at=(w + 0.06, 0.02, -tall * 0.25),
        mirror="x",
    )


def bird(b: Builder) -> None:
    """Plump body, head with a beak, wings at the side or spread, tail, legs or swimming."""
    p = b.palette
    feather = b.pattern(b.pick(p.main, p.light, p.accent, p.metal), p.second, axis=2, chance=0.35)
    dark = b.plain(b.pick(p.second, p.dark, p.main))
    beak = b.plain(torch.tensor([0.96, 0.6, 0.12]).expand(b.count, 3), 0.4)
    w, length, h = b.uniform(0.3, 0.42), b.uniform(0.45, 0.62), b.uniform(0.3, 0.4)
    b.ellipsoid((w, length, h), feather, rotate=(b.uniform(-20, 8), 0, 0))
    r = b.uniform(0.2, 0.3)
    neck = b.uniform(0.05, 0.4)
    hy, hz = -length * b.uniform(0.65, 0.9), h * 0.75 + neck
    b.limb((0, -length * 0.45, 0), (0, hy, hz), r * 0.85, feather, end_radius=r * 0.6, blend=0.12)
    b.sphere(r, feather, at=(0, hy, hz), blend=0.06)
    flat = b.chance(0.5)
    bl = b.uniform(0.1, 0.2)
    b.box((0.12, bl + 0.05, 0.05), beak, rounding=0.04, at=(0, hy - r - bl * 0.6, hz - 0.03), present=flat)
    b.limb((0, hy - r * 0.7, hz), (0, hy - r - bl * 1.4, hz - 0.04), 0.09, beak, end_radius=0.035, present=~flat)
    b.sphere(0.055, b.plain(p.dark * 0.5, 1.0), at=(r * 0.62, hy - r * 0.6, hz + r * 0.35), mirror="x")
    spread = b.chance(0.3)
    b.ellipsoid(
        (0.09, length * 0.62, h * 0.6),
        dark,
        rotate=(-15, 0, 6),
        at=(w * 0.93, length * 0.15, h * 0.1),
        mirror="x",
        present=~spread,
    )
    span = b.uniform(0.3, 0.5)
    b.ellipsoid(
        (span, length * 0.4, 0.07),
        dark,
        rotate=(0, b.uniform(-35, 10), 8),
        at=(w + span * 0.75, 0, h * 0.4),
        mirror="x",
        present=spread,
    )
    b.box(
        (b.uniform(0.12, 0.2), 0.2, 0.05),
        dark,
        rounding=0.04,
        rotate=(b.uniform(5, 40), 0, 0),
        at=(0, length + 0.08, h * 0.25),
    )
    legs = b.chance(0.6)
    ll = b.uniform(0.18, 0.4)
    b.limb((w * 0.45, 0, -h * 0.6), (w * 0.45, 0, -h - ll), 0.05, beak, mirror="x", present=legs)
    b.box((0.1, 0.15, 0.035), beak, rounding=0.03, at=(w * 0.45, -0.07, -h - ll), mirror="x", present=legs)
    b.ellipsoid(
        (w * 0.8, 0.3, h * 0.7),
        b.plain(p.light),
        at=(0, -length * 0.75, -h * 0.35),
        operation="paint",
        present=b.chance(0.6),
    )


def quadruped(b: Builder) -> None:
    """Dog, cat, sheep, giraffe-like animals: body, neck, head with snout and ears, legs, tail."""
    p = b.palette
    fur = b.pattern(
        b.pick(p.wood, p.light, p.dark * 1.6, p.main, p.wood),
        b.pick(p.light, p.second),
        axis=1,
        chance=0.35,
        kinds=(1, 3, 5),
    )
    patch = b.plain(b.pick(p.dark, p.light, p.second))
    w, length, h = b.uniform(0.17, 0.3), b.uniform(0.35, 0.55), b.uniform(0.17, 0.28)
    leg, r = b.uniform(0.28, 0.6), b.uniform(0.07, 0.11)
    z = leg + h * 0.6
    b.capsule(length - w * 0.5, w, fur, top=w * b.uniform(0.9, 1.15), rotate=(90, 0, 0), at=(0, 0, z))
    step = b.uniform(-0.1, 0.1)
    b.limb((w * 0.6, -length * 0.8, z), (w * 0.65, -length * 0.8 + step, 0.05), r * 1.15, fur, end_radius=r, mirror="x")
    b.limb((w * 0.6, length * 0.8, z), (w * 0.65, length * 0.8 - step, 0.05), r * 1.3, fur, end_radius=r, mirror="x")
    b.box((0.5, 2.0, 0.1), patch, at=(0, 0, 0.02), operation="paint", present=b.chance(0.5))
    rise, reach = b.uniform(0.15, 0.6), b.uniform(0.08, 0.3)
    hy, hz = -length - reach, z + rise
    b.limb((0, -length * 0.7, z + 0.04), (0, hy, hz), w * 0.75, fur, end_radius=w * 0.55, blend=0.1)
    _animal_head(b, fur, patch, at=(hy, hz))
    lift = b.uniform(-0.3, 0.35)
    b.limb(
        (0, length + w * 0.3, z + w * 0.4),
        (0, length + w + b.uniform(0.1, 0.3), z + lift),
        0.07,
        fur,
        end_radius=b.uniform(0.05, 0.1),
    )
    b.torus(
        w * 0.68,
        0.055,
        b.plain(p.accent, 0.6),
        rotate=(b.uniform(20, 60), 0, 0),
        at=(0, -length * 0.85 - reach * 0.4, z + rise * 0.5),
        present=b.chance(0.4),
    )


def _animal_head(b: Builder, fur: Tensor, patch: Tensor, *, at: tuple[Tensor, Tensor]) -> None:
    """Head with snout, nose, eyes and one of three kinds of ears at (y, z)."""
    p, (hy, hz) = b.palette, at
    hr = b.uniform(0.18, 0.26)
    b.ellipsoid((hr * 0.95, hr * 1.1, hr), fur, at=(0, hy, hz))
    snout = b.uniform(0.06, 0.24)
    b.limb(
        (0, hy - hr * 0.5, hz - hr * 0.25),
        (0, hy - hr * 0.8 - snout, hz - hr * 0.35),
        hr * 0.6,
        fur,
        end_radius=hr * b.uniform(0.35, 0.55),
        blend=0.04,
    )
    b.sphere(0.065, b.plain(p.dark * 0.6, 0.8), at=(0, hy - hr * 1.15 - snout, hz - hr * 0.25))
    b.sphere(0.045, b.plain(p.dark * 0.4, 1.0), at=(hr * 0.5, hy - hr * 0.88, hz + hr * 0.25), mirror="x")
    pointed, floppy = b.chance(0.5), b.chance(0.4)
    b.cylinder(
        hr * 0.42,
        b.uniform(0.1, 0.2),
        patch,
        top=0.02,
        rotate=(0, b.uniform(5, 25), 0),
        at=(hr * 0.55, hy, hz + hr * 1.1),
        mirror="x",
        present=pointed,
    )
    b.ellipsoid(
        (0.065, 0.11, b.uniform(0.13, 0.24)),
        patch,
        rotate=(0, -12, 0),
        at=(hr * 1.0, hy, hz - 0.02),
        mirror="x",
        present=~pointed & floppy,
    )
    b.sphere(hr * 0.42, patch, at=(hr * 0.75, hy + 0.03, hz + hr * 0.75), mirror="x", present=~pointed & ~floppy)


def bear(b: Builder) -> None:
    """Sitting or standing toy bear, rabbit or panda: round ears or long ones, belly, arms and legs."""
    p = b.palette
    fur = b.plain(b.pick(p.wood, p.light, p.main, p.second, p.wood))
    pale = b.plain(b.pick(p.light, p.accent, p.dark))
    dark = b.plain(p.dark * 0.5, 1.0)
    w, h = b.uniform(0.32, 0.45), b.uniform(0.38, 0.5)
    b.ellipsoid((w, w * 0.85, h), fur)
    b.ellipsoid((w * 0.7, 0.3, h * 0.7), pale, at=(0, -w * 0.85, -0.05), operation="paint", present=b.chance(0.7))
    r = b.uniform(0.3, 0.4)
    z = h + r * 0.6
    b.ellipsoid((r * b.uniform(1.0, 1.15), r * 0.92, r), fur, at=(0, -0.03, z), blend=0.04)
    b.ellipsoid((r * 0.45, r * 0.35, r * 0.34), pale, at=(0, -r * 0.85, z - r * 0.25))
    b.ellipsoid((0.075, 0.05, 0.055), dark, at=(0, -r * 1.2, z - r * 0.12))
    b.sphere(0.055, dark, at=(r * 0.4, -r * 0.86, z + r * 0.2), mirror="x")
    rabbit = b.chance(0.35)
    er = b.uniform(0.12, 0.17)
    b.ellipsoid((er, 0.08, er), fur, at=(r * 0.75, 0, z + r * 0.8), mirror="x", present=~rabbit)
    el = b.uniform(0.25, 0.4)
    b.ellipsoid(
        (0.1, 0.075, el),
        fur,
        rotate=(0, b.uniform(0, 22), 0),
        at=(r * 0.45, 0.02, z + r * 0.8 + el * 0.7),
        mirror="x",
        present=rabbit,
    )
    swing, forward = b.uniform(0.15, 0.35), b.uniform(0.0, 0.3)
    up = b.uniform(-0.35, 0.35)
    b.limb((w * 0.75, 0, h * 0.5), (w + swing, -forward, h * 0.5 + up - 0.1), 0.13, fur, end_radius=0.12, mirror="x")
    sitting = b.chance(0.5)
    b.limb((w * 0.5, -w * 0.3, -h * 0.7), (w * 0.75, -w * 1.3, -h * 0.8), 0.16, fur, mirror="x", present=sitting)
    b.sphere(0.15, pale, at=(w * 0.77, -w * 1.5, -h * 0.78), mirror="x", operation="paint", present=sitting)
    b.limb((w * 0.5, 0, -h * 0.7), (w * 0.55, -0.02, -h * 1.3), 0.16, fur, mirror="x", present=~sitting)
    b.ellipsoid((0.15, 0.22, 0.1), pale, at=(w * 0.55, -0.08, -h * 1.4), mirror="x", present=~sitting)
    bow = b.chance(0.45)
    b.torus(r * 0.62, 0.07, b.plain(p.accent), at=(0, -0.02, h * 0.8), present=bow)
    b.ellipsoid(
        (0.15, 0.06, 0.09), b.plain(p.accent), rotate=(0, 20, 0), at=(0.1, -r * 0.78, h * 0.74), mirror="x", present=bow
    )
