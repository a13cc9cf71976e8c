"""Small animals: insect, crab, octopus."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder, Number, each_kind

Point = tuple[Number, Number, Number]


def insect(b: Builder) -> None:
    """Butterfly with spread wings, striped bee, beetle or ladybird with a shell, ant of three beads."""
    p, kind = b.palette, b.integer(0, 3)
    beetle, ant = kind == 2, kind == 3
    yellow = torch.tensor([0.96, 0.74, 0.15]).expand(b.count, 3)
    dark = b.plain(b.pick(p.dark, p.dark, p.wood * 0.7), 0.6)
    body = b.plain(b.pick(p.dark, p.wood, p.main, p.second), 0.5)
    coat = b.pattern(
        b.pick(yellow, p.accent, yellow, p.light), p.dark, axis=1, chance=1.0, kinds=(1,), period=(0.2, 0.3)
    )
    shell = b.pattern(b.pick(p.main, p.accent, p.metal, p.leaf), b.pick(p.dark, p.dark, p.light), axis=None,
                      chance=0.7, kinds=(5, 5, 1, 3), period=(0.25, 0.4), gloss=0.9)  # fmt: skip
    tail = torch.where((kind == 1)[:, None], coat, torch.where(beetle[:, None], shell, body))
    front = torch.where(beetle[:, None], dark, torch.where((kind == 1)[:, None] & b.chance(0.5)[:, None], dark, body))
    aw = each_kind(kind, b.uniform(0.09, 0.13), b.uniform(0.26, 0.38), b.uniform(0.4, 0.6), b.uniform(0.2, 0.32))
    al = each_kind(kind, b.uniform(0.3, 0.42), b.uniform(0.38, 0.55), b.uniform(0.5, 0.68), b.uniform(0.32, 0.46))
    ah = each_kind(kind, aw, aw, b.uniform(0.28, 0.48), aw * 0.9)
    tr = each_kind(
        kind, b.uniform(0.11, 0.15), aw * b.uniform(0.8, 0.95), aw * b.uniform(0.65, 0.8), b.uniform(0.13, 0.19)
    )
    hr = each_kind(kind, b.uniform(0.11, 0.15), b.uniform(0.18, 0.24), b.uniform(0.18, 0.25), b.uniform(0.18, 0.27))
    th = torch.minimum(tr, ah * 0.8)
    z = each_kind(kind, b.uniform(0.12, 0.25), b.uniform(0.22, 0.32), b.uniform(0.12, 0.2), b.uniform(0.22, 0.38))
    ay = each_kind(kind, al + tr * 0.4, al * 0.75 + tr * 0.5, al * 0.85, al + tr * 0.75)
    hy = each_kind(kind, -tr - hr * 0.5, -tr - hr * 0.45, -tr * 0.75 - hr * 0.4, -tr - hr * 0.85)
    b.ellipsoid((aw, al, ah), tail, rotate=(each_kind(kind, 0, -12, 0, b.uniform(-5, 15)), 0, 0), at=(0, ay, z))
    b.box((0.03, al, 1), dark, rounding=0, at=(0, ay + 0.05, z + 1), operation="paint", present=beetle)
    b.ellipsoid((tr, tr * each_kind(kind, 1.35, 1, 0.75, 1.2), th), front, at=(0, 0, z))
    b.ellipsoid((hr, hr * 0.9, torch.minimum(hr, ah)), front, at=(0, hy, z + ah * 0.05))
    b.limb((0, ay + al * 0.8, z), (0, ay + al + 0.14, z - 0.03), 0.07, dark, end_radius=0.045, present=kind == 1)
    eye = b.plain(b.pick(p.dark * 0.5, p.light, p.accent), 1.0)
    b.sphere(hr * b.uniform(0.32, 0.5), eye, at=(hr * 0.7, hy - hr * 0.4, z + hr * 0.35), mirror="x")
    tip = (hr * 0.5 + b.uniform(0.08, 0.25), hy - hr - b.uniform(0.05, 0.25), z + hr + b.uniform(0.05, 0.3))
    b.limb((hr * 0.4, hy - hr * 0.4, z + hr * 0.5), tip, 0.048, dark, mirror="x")
    b.sphere(0.07, b.plain(p.accent), at=tip, mirror="x", present=b.chance(0.5))
    jaw, horned = b.uniform(0.1, 0.25), b.chance(0.25)
    b.limb((hr * 0.5, hy - hr * 0.6, z - 0.03), (hr * 0.25, hy - hr * 0.8 - jaw, z - 0.03), 0.06, dark, mirror="x",
           present=(beetle | ant) & b.chance(0.6))  # fmt: skip
    b.limb((0, hy - hr * 0.4, z), (0, hy - hr - 0.2, z + 0.35), 0.09, dark, end_radius=0.05, present=beetle & horned)
    _insect_legs(b, dark, x=tr, z=z, kind=kind)
    _insect_wings(b, at=(tr * 0.5, z + th * 0.6), kind=kind)


def _insect_legs(b: Builder, material: Tensor, *, x: Tensor, z: Tensor, kind: Tensor) -> None:
    """Three bent legs a side from a body of half width x at height z."""
    out = each_kind(kind, 0.08, b.uniform(0.12, 0.2), b.uniform(0.16, 0.28), b.uniform(0.24, 0.4))
    rise = each_kind(kind, 0.0, 0.02, 0.08, b.uniform(0.08, 0.22))
    thick, present = each_kind(kind, 0.048, 0.052, 0.058, b.uniform(0.05, 0.06)), (kind > 0) | b.chance(0.5)
    for y, turn in ((-0.12, -0.2), (0.05, 0.1), (0.24, 0.4)):
        reach = each_kind(kind, 0.5, 0.8, 1.2, 1.0)
        hip = y * each_kind(kind, 0.6, 0.9, 1.8, 0.6)
        knee = (x + out, hip + turn * reach * 0.5, z + rise)
        b.limb((x * 0.5, hip, z - 0.04), knee, thick, material, mirror="x", present=present)
        foot = (x + out * 1.7, hip + turn * reach * 0.9, 0.0)
        b.limb(knee, foot, thick, material, end_radius=0.048, mirror="x", present=present)


def _insect_wings(b: Builder, *, at: tuple[Tensor, Tensor], kind: Tensor) -> None:
    """Two pairs of wings from (x, z): broad and patterned, or the clear ones of a bee, or those of a flying ant."""
    p, (x, z), clear = b.palette, at, kind > 0
    rim, pale = b.pick(p.main, p.accent, p.second, p.dark), b.plain(b.pick(p.glass, p.light), 0.8)
    inner = b.pattern(b.pick(p.main, p.second, p.light, p.accent), b.pick(p.accent, p.light, p.dark), axis=None,
                      chance=0.6, period=(0.2, 0.4))  # fmt: skip
    edge = torch.where(clear[:, None], pale, b.plain(rim * b.uniform(0.4, 1.0)[:, None]))
    present = (kind < 2) | ((kind == 3) & b.chance(0.3)) | ((kind == 2) & b.chance(0.2))
    lift, slim = b.uniform(14, 58), b.uniform(0.6, 0.85)
    for y, span, sweep in (
        (
            -0.05,
            each_kind(kind, b.uniform(0.42, 0.56), b.uniform(0.36, 0.5), 0.45, 0.42),
            each_kind(kind, -32, 12, 35, 35),
        ),
        (0.12, each_kind(kind, b.uniform(0.28, 0.45), b.uniform(0.2, 0.3), 0.3, 0.26), each_kind(kind, 38, 48, 55, 55)),
    ):
        turn = sweep + b.uniform(-8, 8)
        up, side, width = lift.deg2rad(), turn.deg2rad(), span * torch.where(clear, slim * 0.5, slim)
        reach = span * 0.92
        centre = (x + reach * up.cos() * side.cos(), y + reach * up.cos() * side.sin(), z + reach * up.sin())
        angles = (0, -lift, turn)
        b.ellipsoid((span, width, 0.055), edge, rotate=angles, at=centre, mirror="x", present=present)
        b.ellipsoid((span * 0.74, width * 0.7, 0.2), inner, rotate=angles, at=centre, mirror="x", operation="paint",
                    present=kind == 0)  # fmt: skip
        spot = [c + 0.35 * (c - r) for c, r in zip(centre, (x, torch.full_like(x, y), z))]
        b.sphere(width * 0.27, b.plain(p.accent), at=spot, mirror="x", operation="paint",
                 present=(kind == 0) & b.chance(0.5))  # fmt: skip


def crab(b: Builder) -> None:
    """Wide crab with claws and stalk eyes, lobster with a tail in rings and feelers, spider with a round abdomen."""
    p, kind = b.palette, b.integer(0, 2)
    lobster, spider = kind == 1, kind == 2
    red = torch.tensor([0.84, 0.26, 0.14]).expand(b.count, 3)
    skin = b.pick(red, p.accent, p.main, p.second, p.dark * 1.3)
    shell = b.pattern(skin, b.pick(p.light, p.second, p.dark), axis=1, chance=0.4, kinds=(1, 4, 5), period=(0.2, 0.4),
                      gloss=0.6)  # fmt: skip
    limb = torch.where(
        b.chance(0.6)[:, None], b.plain(skin * 0.9, 0.5), b.plain(b.pick(p.dark, p.light, p.second), 0.5)
    )
    w = each_kind(kind, b.uniform(0.38, 0.56), b.uniform(0.18, 0.25), b.uniform(0.16, 0.24))
    d = each_kind(kind, b.uniform(0.28, 0.38), b.uniform(0.34, 0.45), b.uniform(0.2, 0.28))
    h = each_kind(kind, b.uniform(0.17, 0.3), b.uniform(0.17, 0.23), b.uniform(0.13, 0.2))
    z = each_kind(kind, b.uniform(0.22, 0.34), b.uniform(0.2, 0.28), b.uniform(0.24, 0.4))
    boxy = b.chance(0.3) & (kind == 0)
    b.ellipsoid((w, d, h), shell, at=(0, 0, z), present=~boxy)
    b.box((w * 0.95, d * 0.85, h * 0.7), shell, rounding=0.12, grow=(b.uniform(-0.1, 0.15), 0), at=(0, 0, z),
          present=boxy)  # fmt: skip
    pale = b.plain(b.pick(p.light, p.accent, skin * 0.8))
    b.ellipsoid((w, d, h), pale, at=(0, 0, z - h * 1.1), operation="paint", present=b.chance(0.4))
    ar, lift = b.uniform(0.26, 0.42), b.uniform(0.0, 0.15)
    b.ellipsoid((ar, ar * b.uniform(1.0, 1.3), ar * 0.9), shell, at=(0, d * 0.7 + ar, z + lift), present=spider)
    b.ellipsoid((ar * 0.45, ar * 0.6, 0.5), pale, at=(0, d * 0.7 + ar, z + lift + 0.6), operation="paint",
                present=spider & b.chance(0.5))  # fmt: skip
    b.limb((0, d * 0.5, z), (0, d + 0.6, z - 0.08), w * 0.8, limb, end_radius=w * 0.5, present=lobster)
    for y, size in ((0.02, 1.0), (0.2, 0.9), (0.38, 0.78), (0.54, 0.66)):
        b.ellipsoid((w * size, 0.13, h * size), shell, at=(0, d + y, z - y * 0.12), present=lobster)
    fan = b.uniform(0.1, 0.15)
    b.ellipsoid((fan, 0.2, 0.055), limb, at=(0, d + 0.78, z - 0.1), present=lobster)
    b.ellipsoid((fan, 0.2, 0.055), shell, rotate=(0, 0, -38), at=(0.14, d + 0.74, z - 0.1), mirror="x", present=lobster)
    stalk = torch.where(spider, 0.0, b.uniform(0.03, 0.25))
    ex, er = w * b.uniform(0.25, 0.5), b.uniform(0.07, 0.1)
    top = (ex, -d * 0.85 - 0.02, z + h * torch.where(spider, 0.35, 0.7) + stalk)
    b.limb((ex * 0.9, -d * 0.65, z + h * 0.3), top, 0.055, limb, mirror="x")
    b.sphere(er, b.plain(b.pick(p.light, p.dark * 0.5), 1.0), at=top, mirror="x")
    b.sphere(er * 0.62, b.plain(p.dark * 0.4, 1.0), at=(top[0], top[1] - er * 0.8, top[2]), mirror="x",
             operation="paint")  # fmt: skip
    feeler = (ex + b.uniform(0.1, 0.35), -d - b.uniform(0.35, 0.6), z + b.uniform(0.1, 0.4))
    b.limb((ex, -d * 0.7, z), feeler, 0.052, limb, mirror="x", present=lobster)
    _crab_legs(b, limb, size=(w, d, z), kind=kind)
    _crab_claws(b, shell, size=(w, d, z), kind=kind)


def _crab_legs(b: Builder, material: Tensor, *, size: tuple[Tensor, Tensor, Tensor], kind: Tensor) -> None:
    """Four bent legs a side, fanned from the front to the back."""
    w, d, z = size
    out = each_kind(kind, b.uniform(0.2, 0.34), b.uniform(0.13, 0.2), b.uniform(0.3, 0.45))
    rise = each_kind(kind, b.uniform(0.02, 0.15), b.uniform(0.0, 0.06), b.uniform(0.12, 0.35))
    r, foot = b.uniform(0.052, 0.066), b.uniform(1.5, 1.9)
    for index in range(4):
        y = d * (-0.45 + 0.34 * index) * each_kind(kind, 1.1, 1.15, 0.9)
        turn = (index - 1.5) / 1.5 * each_kind(kind, 0.26, 0.17, 0.36)
        long = 1 - 0.15 * abs(index - 1.5) / 1.5
        knee = (w * 0.8 + out * long, y + turn * 0.7, z + rise)
        b.limb((w * 0.6, y, z - 0.03), knee, r, material, mirror="x")
        b.limb(knee, (w * 0.8 + out * long * foot, y + turn * 1.4, 0.0), r, material, end_radius=0.048, mirror="x")


def _crab_claws(b: Builder, material: Tensor, *, size: tuple[Tensor, Tensor, Tensor], kind: Tensor) -> None:
    """Arms with pincers in front; a spider's are short feelers without claws."""
    (w, d, z), spider = size, kind == 2
    out, rise = b.uniform(0.08, 0.3), b.uniform(-0.05, 0.3)
    elbow = (w * 0.8 + out, -d * 0.8 - 0.05, z + rise * 0.3)
    hand = (w * 0.75 + out * 0.7, -d - b.uniform(0.2, 0.35), z + rise)
    b.limb((w * 0.65, -d * 0.4, z), elbow, 0.075, material, mirror="x", present=~spider)
    b.limb(elbow, hand, 0.08, material, mirror="x", present=~spider)
    r = b.uniform(0.14, 0.23)
    palm = (hand[0] - 0.02, hand[1] - r * 0.5, hand[2])
    b.ellipsoid((r * 0.95, r * 1.25, r * 0.7), material, rotate=(0, 0, 12), at=palm, mirror="x", present=~spider)
    reach, tips = palm[1] - r * 2.1, b.plain(b.pick(b.palette.light, b.palette.dark))
    b.limb((palm[0] + r * 0.5, palm[1] - r * 0.6, palm[2]), (palm[0] + r * 0.6, reach, palm[2]), r * 0.45, material,
           end_radius=0.05, mirror="x", present=~spider)  # fmt: skip
    b.limb((palm[0] - r * 0.5, palm[1] - r * 0.6, palm[2]), (palm[0] - r * 0.55, reach + 0.04, palm[2]), r * 0.38,
           material, end_radius=0.05, mirror="x", present=~spider)  # fmt: skip
    b.sphere(r * 0.85, tips, at=(palm[0], reach, palm[2]), mirror="x", operation="paint",
             present=~spider & b.chance(0.4))  # fmt: skip
    b.limb((w * 0.35, -d * 0.8, z - 0.03), (w * 0.45, -d - 0.14, z - 0.1), 0.07, tips, end_radius=0.05, mirror="x",
           present=spider)  # fmt: skip


def octopus(b: Builder) -> None:
    """Octopus with eight arms on the ground, jellyfish with a hollow bell, squid with a pointed mantle and fins."""
    p, kind = b.palette, b.integer(0, 2)
    jelly, squid = kind == 1, kind == 2
    skin = b.pattern(b.pick(p.main, p.accent, p.second, p.light), b.pick(p.second, p.light, p.accent), axis=2,
                     chance=0.5, kinds=(1, 4, 5, 5), period=(0.2, 0.45), gloss=0.6)  # fmt: skip
    arm = torch.where(b.chance(0.6)[:, None], skin, b.plain(b.pick(p.second, p.accent, p.light), 0.5))
    w = each_kind(kind, b.uniform(0.3, 0.44), b.uniform(0.45, 0.7), b.uniform(0.24, 0.36))
    h = each_kind(kind, b.uniform(0.32, 0.55), b.uniform(0.35, 0.6), b.uniform(0.45, 0.65))
    lean = each_kind(kind, b.uniform(-18, 0), 0, 0)
    z = each_kind(kind, h + b.uniform(-0.06, 0.1), b.uniform(0.6, 1.0), b.uniform(0.75, 0.95) + h * 0.6)
    b.ellipsoid((w, w * each_kind(kind, b.uniform(0.85, 1.05), 1, 0.9), h), skin, rotate=(lean, 0, 0), at=(0, 0, z),
                present=~squid)  # fmt: skip
    b.ellipsoid((w - 0.09, w - 0.09, h - 0.11), arm, at=(0, 0, z - 0.05), operation="subtract", present=jelly)
    b.box((1, 1, 0.5), arm, rounding=0, at=(0, 0, z - 0.52), operation="subtract", present=jelly)
    b.torus(w - 0.04, 0.075, arm, at=(0, 0, z), present=jelly & b.chance(0.6))
    b.capsule(h * 0.8, w, skin, top=0.07, at=(0, 0, z), present=squid)
    fw, fh = b.uniform(0.18, 0.34), b.uniform(0.18, 0.32)
    b.box((fw, 0.05, fh), arm, rounding=0.03, grow=(-0.8, 0), rotate=(0, b.uniform(-12, 12), 0),
          at=(w * 0.3 + fw * 0.55, 0.02, z + h * 0.6), mirror="x", present=squid)  # fmt: skip
    hz = each_kind(kind, b.uniform(0.26, 0.42), z, z - h * 0.8 - w - 0.02)
    hr = w * each_kind(kind, b.uniform(0.7, 0.9), 0.5, b.uniform(0.75, 0.95))
    b.sphere(hr, skin, at=(0, -0.02, hz), blend=0.08, present=~jelly)
    er, ex = b.uniform(0.08, 0.13), hr * b.uniform(0.5, 0.75)
    ez = torch.where(squid, hz, hz + 0.12)
    ey = -torch.where(squid, hr * 0.8, w * 0.78)
    b.sphere(er, b.plain(p.light, 1.0), at=(ex, ey, ez), mirror="x", present=~jelly)
    b.sphere(er * 0.62, b.plain(p.dark * 0.4, 1.0), at=(ex, ey - er * 0.8, ez), mirror="x", operation="paint",
             present=~jelly)  # fmt: skip
    b.ellipsoid((b.uniform(0.06, 0.14), 0.3, 0.05), b.plain(p.dark * 0.6), at=(0, ey, ez - er - 0.08),
                operation="paint", present=(kind == 0) & b.chance(0.5))  # fmt: skip
    _octopus_arms(b, arm, x=w * 0.5, present=kind == 0)
    end = each_kind(kind, 0.0, z - b.uniform(0.75, 1.1), hz - b.uniform(0.45, 0.7))
    start = torch.where(squid, hz, z + h * 0.2)
    b.capsule((start - end) / 2, 0.055, arm, top=torch.where(squid, 0.085, 0.06), at=(0, 0, (start + end) / 2),
              radial=(b.integer(5, 8), torch.where(squid, hr * 0.66, w - 0.14)), present=kind > 0)  # fmt: skip
    b.limb((hr * 0.6, -0.05, hz), (hr * 0.6 + 0.1, -0.12, end - 0.25), 0.055, skin, mirror="x", present=squid)
    b.ellipsoid((0.085, 0.07, 0.15), skin, at=(hr * 0.6 + 0.11, -0.12, end - 0.3), mirror="x", present=squid)
    inner = b.uniform(0.07, 0.1)
    b.capsule((z + h * 0.6 - end) / 2, inner * 0.8, skin, top=inner, at=(0, 0, (z + h * 0.75 + end) / 2),
              radial=(b.integer(3, 4), inner * 1.1), present=jelly)  # fmt: skip


def _octopus_arms(b: Builder, material: Tensor, *, x: Tensor, present: Tensor) -> None:
    """Eight arms of three pieces that spread over the ground and curl up at their tips."""
    r, reach, swirl = b.uniform(0.1, 0.145), b.uniform(0.5, 0.75), b.uniform(-14, 14)
    rise, curl, arch = b.uniform(0.0, 0.3), b.uniform(-0.08, 0.2), b.uniform(0.0, 0.25)
    for angle in (20.0, 65.0):
        knots: list[Point] = []
        for step, distance, height in (
            (0, x * 0.6, 0.22),
            (1, x + reach * 0.3, 0.1 + arch),
            (2, x + reach * 0.8, 0.05),
        ):
            turn = (angle + swirl * step * 0.5).deg2rad()
            knots.append((distance * turn.cos(), distance * turn.sin(), height))
        turn = (angle + swirl * 2).deg2rad()
        knots.append(((x + reach + curl) * turn.cos(), (x + reach + curl) * turn.sin(), 0.07 + rise))
        for first, second, thick, thin in zip(knots, knots[1:], (1.15, 1.0, 0.75), (1.0, 0.75, 0.45)):
            b.limb(first, second, r * thick, material, end_radius=(r * thin).clamp_min(0.05), mirror="xy",
                   present=present)  # fmt: skip
