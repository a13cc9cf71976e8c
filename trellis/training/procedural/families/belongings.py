"""What people carry and wear: lantern, helmet, shoe."""

from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def lantern(b: Builder) -> None:
    """Hand lantern, street lantern (one or two heads), candlestick (low, tall, three arms), oil lamp (two sorts)."""
    p = b.palette
    kind = b.integer(0, 4)  # hand, street, candlestick, hurricane lamp, oil lamp with a spout
    metal = b.plain(b.pick(p.dark, p.metal, p.main, p.accent), 0.7)
    flame = b.plain(b.tone(1.0, 0.74, 0.2))
    b.one_of((kind - 1).clamp_min(0), partial(_lantern_head, metal=metal, street=kind == 1),
             partial(_candlestick, metal=metal, flame=flame), partial(_hurricane_lamp, metal=metal),
             partial(_spouted_lamp, metal=metal, flame=flame))  # fmt: skip


def _lantern_head(b: Builder, here: Tensor, metal: Tensor, street: Tensor) -> None:
    """Glass between plates and bars under a roof: with a handle in the hand, or one or two on a post."""
    p = b.palette
    glass = b.plain(b.pick(b.tone(1.0, 0.85, 0.42), p.glass, p.light), 1.0)
    twin, square = street & b.chance(0.35), b.chance(0.6)
    w, h = b.uniform(0.3, 0.46), b.uniform(0.34, 0.55)
    w, h = torch.where(street, w * 0.75, w), torch.where(street, h * 0.7, h)
    post = torch.where(street, b.uniform(1.0, 1.7), 0.07)
    x, lift = torch.where(twin, w + b.uniform(0.12, 0.3), 0.0), torch.where(twin, 0.08, 0.0)
    z = post + lift
    # A part in the middle is its own mirror image, so that one lantern and two are the same parts.
    for present, flat in ((here & square, True), (here & ~square, False)):
        for size, tall, at, material in (
            (1.18, 0.06, z, metal),
            (0.98, h, z + h, glass),
            (1.2, 0.06, z + 2 * h, metal),
        ):
            if flat:
                b.box((w * size, w * size, tall), material, at=(x, 0, at), mirror="x", present=present)
            else:
                b.cylinder(w * size, tall, material, at=(x, 0, at), mirror="x", present=present)
    bar = b.uniform(0.055, 0.075)
    b.box((bar, bar, h), metal, at=(x, w * 0.95, z + h), array=(0, w * 1.9, 2), mirror="xy", present=here & square)
    b.cylinder(bar, h, metal, at=(x, 0, z + h), radial=(b.integer(4, 6), w * 0.95), mirror="x",
               present=here & ~square)  # fmt: skip
    b.box((w * 1.1, w * 1.1, 0.05), metal, at=(x, 0, z + h), mirror="x", present=here & square & b.chance(0.3))
    roof, top, dome = b.uniform(0.12, 0.3), z + 2 * h + 0.04, b.chance(0.3)
    half = w * b.uniform(0.65, 0.8)
    b.box((half, half, roof), metal, grow=(-0.75, -0.75), at=(x, 0, top + roof), mirror="x",
          present=here & square & ~dome)  # fmt: skip
    b.cylinder(half * 1.6, roof, metal, top=0.1, at=(x, 0, top + roof), mirror="x", present=here & ~square & ~dome)
    b.ellipsoid((w * 1.1, w * 1.1, roof * 2), metal, at=(x, 0, top), mirror="x", present=here & dome)
    peak = top + 2 * roof
    b.sphere(b.uniform(0.09, 0.13), metal, at=(x, 0, peak), mirror="x", present=here)
    ring = b.uniform(0.2, 0.42)
    b.torus(ring, 0.06, b.plain(b.pick(p.dark, p.metal, p.wood), 0.6), rotate=(90, 0, 0), at=(0, 0, peak + ring),
            present=here & ~street)  # fmt: skip
    b.cylinder(b.uniform(0.07, 0.1), post / 2, metal, at=(0, 0, post / 2), present=street)
    foot = b.uniform(0.16, 0.3)
    b.cylinder(foot, b.uniform(0.06, 0.16), metal, top=foot * 0.6, at=(0, 0, 0.06), present=street)
    b.torus(0.09, 0.065, metal, at=(0, 0, post * b.uniform(0.3, 0.8)), present=street)
    b.limb((0, 0, post - b.uniform(0.0, 0.3)), (x, 0, z), 0.065, metal, mirror="x", present=twin)
    b.sphere(0.11, metal, at=(0, 0, post), present=twin)


def _candlestick(b: Builder, here: Tensor, metal: Tensor, flame: Tensor) -> None:
    """Foot, stem with knobs, saucer and candle; low with a ring to hold, tall, or with arms for two more candles."""
    p = b.palette
    wax = b.pattern(b.pick(p.light, p.light, p.accent, p.second), p.light, chance=0.25, kinds=(1, 4), period=(0.2, 0.4))
    style = b.integer(0, 2)  # low, tall, three arms
    low, arms = here & (style == 0), here & (style == 2)
    stem, foot = torch.where(style == 0, 0.1, b.uniform(0.7, 1.2)), b.uniform(0.32, 0.48)
    foot = torch.where(style == 0, foot * 1.25, foot)
    b.cylinder(foot, 0.07, metal, top=foot * b.uniform(0.6, 0.9), at=(0, 0, 0.07), present=here & ~low)
    b.cylinder(foot * 0.75, 0.075, metal, top=foot, at=(0, 0, 0.075), present=low)
    b.torus(0.17, 0.06, metal, rotate=(90, 0, 0), at=(foot + 0.12, 0, 0.18), present=low)
    b.cylinder(b.uniform(0.1, 0.18), stem / 2, metal, top=b.uniform(0.06, 0.1), at=(0, 0, stem / 2), present=here)
    for part in (0.35, 0.7):
        b.ellipsoid((0.16, 0.16, b.uniform(0.08, 0.14)), metal, at=(0, 0, stem * part), present=here & ~low)
    reach, tall, thick = b.uniform(0.4, 0.6), b.uniform(0.18, 0.45), b.uniform(0.075, 0.115)
    b.torus(reach, 0.065, metal, half_angle=1.57, rotate=(-90, 0, 0), at=(0, 0, stem), present=arms)
    for x, present in ((0.0, here), (reach, arms)):
        b.cylinder(thick * 1.2, 0.07, metal, top=thick * 2, at=(x, 0, stem + 0.03), mirror="x", present=present)
        b.cylinder(thick, tall, wax, at=(x, 0, stem + tall + 0.05), mirror="x", present=present)
        b.ellipsoid((0.07, 0.07, 0.15), flame, at=(x, 0, stem + 2 * tall + 0.16), mirror="x", present=present)


def _hurricane_lamp(b: Builder, here: Tensor, metal: Tensor) -> None:
    """A tank with a glass chimney in a frame with a handle."""
    p = b.palette
    font, glass = b.plain(b.pick(p.main, p.metal, p.accent), 0.9), b.plain(b.pick(p.glass, b.tone(1.0, 0.86, 0.5)), 1)
    r, h, frame = b.uniform(0.36, 0.5), b.uniform(0.14, 0.22), b.chance(0.65)
    b.cylinder(r, h, font, rounding=0.06, top=r * b.uniform(0.8, 1.0), at=(0, 0, h), present=here)
    b.cylinder(r * 0.6, 0.11, metal, top=r * 0.4, at=(0, 0, 2 * h + 0.06), present=here)
    g, tall = r * b.uniform(0.6, 0.85), b.uniform(0.26, 0.4)
    z = 2 * h + 0.1 + tall
    b.ellipsoid((g, g, tall), glass, at=(0, 0, z), present=here)
    b.cylinder(g * 0.65, 0.19, glass, top=g * 0.5, at=(0, 0, z + tall), blend=0.05, present=here & ~frame)
    b.cylinder(g * 0.85, 0.09, metal, top=g * 0.6, at=(0, 0, z + tall), present=here & frame)
    b.cylinder(g * 0.4, 0.14, metal, at=(0, 0, z + tall + 0.12), present=here & frame)
    side = r * 0.95
    b.limb((side, 0, h), (side, 0, z + tall), 0.06, metal, mirror="x", present=here & frame)
    b.limb((side, 0, z + tall), (0, 0, z + tall + 0.02), 0.06, metal, mirror="x", present=here & frame)
    b.torus(side, 0.055, metal, half_angle=1.57, rotate=(90, 0, 0), at=(0, 0, z + tall), present=here & frame)


def _spouted_lamp(b: Builder, here: Tensor, metal: Tensor, flame: Tensor) -> None:
    """A low lamp whose spout points to the left, with a ring behind and a lid."""
    p = b.palette
    font = b.plain(b.pick(p.main, p.metal, p.accent), 0.9)
    w, d = b.uniform(0.48, 0.6), b.uniform(0.2, 0.3)
    b.ellipsoid((w, w * 0.75, d), font, at=(0, 0, 0.3 + d), present=here)
    b.cylinder(b.uniform(0.24, 0.36), 0.1, metal, top=0.12, at=(0, 0, 0.1), present=here)
    b.cylinder(0.11, 0.12, metal, at=(0, 0, 0.25), present=here)
    tip = (-w - b.uniform(0.35, 0.55), 0, 0.3 + d + b.uniform(0.15, 0.35))
    b.limb((-w * 0.6, 0, 0.3 + d * 0.9), tip, 0.18, font, end_radius=0.08, blend=0.08, present=here)
    b.ellipsoid((0.075, 0.075, 0.17), flame, at=(tip[0], 0, tip[2] + 0.17), present=here & b.chance(0.7))
    b.torus(d * b.uniform(0.8, 1.0), 0.07, metal, rotate=(90, 0, 0), at=(w + d * 0.6, 0, 0.35 + d), present=here)
    b.ellipsoid((w * 0.5, w * 0.4, b.uniform(0.12, 0.22)), metal, at=(0, 0, 0.28 + 2 * d), present=here)
    b.sphere(0.1, metal, at=(0, 0, 0.46 + 2 * d), present=here)


def helmet(b: Builder) -> None:
    """Knight's helmet (with horns or a plume), crown, hat (top hat, bowler, cap, pointed), motorcycle helmet."""
    b.one_of(b.integer(0, 3), _knight_helmet, _crown, _hat, _rider_helmet)


def _knight_helmet(b: Builder, here: Tensor) -> None:
    """Dome, cone or flat top on a wall with an eye slit, a visor, breaths, a crest, horns or a plume."""
    p = b.palette
    steel, trim = (
        b.plain(b.pick(p.metal, p.metal, p.light, p.dark), 1.0),
        b.plain(b.pick(p.accent, p.metal, p.wood), 0.8),
    )
    hole, feather = b.plain(p.dark * 0.4), b.pattern(p.main, p.light, axis=1, chance=0.3, kinds=(4,))
    r, h, top = b.uniform(0.5, 0.6), b.uniform(0.26, 0.42), b.integer(0, 2)  # dome, cone, flat
    b.cylinder(r * b.uniform(0.95, 1.1), h, steel, top=r, at=(0, 0, 0), present=here)
    tall = b.uniform(0.42, 0.62)
    b.ellipsoid((r, r, tall), steel, at=(0, 0, h), present=here & (top == 0))
    b.cylinder(r, tall * 0.6, steel, top=0.1, at=(0, 0, h + tall * 0.5), present=here & (top == 1))
    b.cylinder(r, 0.14, steel, top=r * 0.8, at=(0, 0, h + 0.08), present=here & (top == 2))
    b.cylinder(r * 1.25, b.uniform(0.07, 0.13), steel, top=r, at=(0, 0, -h), present=here & b.chance(0.6))
    visor, slit = b.chance(0.45), b.uniform(0.1, 0.22)
    b.cylinder(r * 0.85, h * 0.8, steel, top=r * 0.75, at=(0, -r * 0.4, -h * 0.1), present=here & visor)
    b.box((r * 0.75, 0.5, 0.065), hole, at=(0, -r - 0.15, slit), operation="paint", present=here)
    b.box((0.05, 0.6, h * 0.5), hole, at=(r * 0.14, -r - 0.2, -h * 0.42), array=(0, r * 0.24, 2), mirror="x",
          operation="paint", present=here & b.chance(0.6))  # fmt: skip
    b.box((0.065, 0.09, h * 0.8 + 0.1), trim, at=(0, -r * 1.02, h * 0.3), present=here & ~visor)
    b.cylinder(r * 1.06, 0.065, trim, at=(0, 0, h), present=here & b.chance(0.6))
    extra, peak = b.integer(0, 3), h + torch.where(top == 0, tall, torch.where(top == 1, tall * 1.1, 0.22))
    horns, high = here & (extra == 0), b.uniform(0.35, 0.6)
    bone = b.plain(b.pick(p.light, p.wood), 0.5)
    b.limb((r * 0.85, 0, h * 0.9), (r + 0.32, 0, h + 0.15), 0.15, bone, end_radius=0.12, mirror="x", present=horns)
    b.limb(
        (r + 0.32, 0, h + 0.15), (r + 0.4, 0, h + 0.15 + high), 0.12, bone, end_radius=0.05, mirror="x", present=horns
    )
    plume, back = here & (extra == 1), b.uniform(0.45, 0.75)
    b.limb((0, 0, peak - 0.08), (0, 0.12, peak + 0.28), 0.09, feather, end_radius=0.16, present=plume)
    b.limb((0, 0.12, peak + 0.28), (0, back, peak - 0.05), 0.16, feather, end_radius=0.1, present=plume, blend=0.05)
    b.torus(r * 0.95, 0.12, feather, half_angle=1.5, rotate=(90, 0, 90), at=(0, 0, peak - r * 0.95),
            present=here & (extra == 2))  # fmt: skip


def _crown(b: Builder, here: Tensor) -> None:
    """A hollow ring with points, balls and stones; sometimes a cushion and two arches with a cross."""
    p = b.palette
    gold = b.plain(b.pick(b.tone(0.95, 0.74, 0.22), b.tone(0.95, 0.74, 0.22), p.metal, p.light), 1.0)
    stone, n = b.plain(b.pick(p.main, p.accent), 1.0), b.integer(5, 8)
    r, h = b.uniform(0.58, 0.72), b.uniform(0.16, 0.28)
    flare, royal = b.uniform(0.0, 0.12), b.chance(0.4)
    b.cylinder(r, h, gold, top=r + flare, at=(0, 0, 0), present=here)
    b.cylinder(r - 0.11, h * 2, gold, top=r + flare - 0.06, at=(0, 0, 0.12), operation="subtract", present=here)
    point, place = b.uniform(0.16, 0.34), r + flare - 0.06
    point = torch.where(royal, point * 0.6, point)
    wide = r * 2.7 / n
    b.box((0.06, wide * 0.5, point), gold, rounding=0.02, grow=(0.0, -0.75), at=(0, 0, h + point * 0.9),
          radial=(n, place), present=here)  # fmt: skip
    b.sphere(b.uniform(0.075, 0.1), b.plain(b.pick(p.accent, p.light, p.metal), 1.0), at=(0, 0, h + point * 1.9),
             radial=(n, place), present=here & b.chance(0.7))  # fmt: skip
    b.ellipsoid((0.07, 0.09, h * 0.45), stone, at=(0, 0, 0), radial=(n, r + flare * 0.5 + 0.01), present=here)
    b.torus(r + 0.01, 0.065, b.plain(b.pick(p.light, p.metal, p.main), 0.6), at=(0, 0, -h), present=here)
    cushion = here & (royal | b.chance(0.3))
    b.ellipsoid((r - 0.06, r - 0.06, h + point * 1.2), b.plain(b.pick(p.main, p.second)), at=(0, 0, h * 0.4),
                present=cushion)  # fmt: skip
    b.box((r * 2, r * 2, 0.6), gold, at=(0, 0, -h - 0.62), operation="subtract", present=cushion)
    for turn in (0, 90):
        b.torus(r * 0.95, 0.065, gold, half_angle=1.57, rotate=(90, 0, turn), at=(0, 0, h * 0.8), present=here & royal)
    peak = h * 0.8 + r * 0.95
    b.sphere(0.13, gold, at=(0, 0, peak + 0.1), present=here & royal)
    b.box((0.06, 0.06, 0.17), gold, at=(0, 0, peak + 0.32), present=here & royal)
    b.box((0.15, 0.06, 0.055), gold, at=(0, 0, peak + 0.34), present=here & royal)


def _hat(b: Builder, here: Tensor) -> None:
    """Top hat, bowler, cap with its peak to the front, or a pointed hat; band, bow, button or stars."""
    p, style = b.palette, b.integer(0, 3)
    cloth = b.pattern(b.pick(p.main, p.dark, p.wood, p.second), p.accent, chance=0.25, period=(0.25, 0.5), axis=None)
    trim = b.plain(b.pick(p.accent, p.light, p.second), 0.3)
    tops, bowl, cap, cone = (here & (style == index) for index in range(4))
    r, h, brim = b.uniform(0.42, 0.52), b.uniform(0.3, 0.55), b.uniform(0.2, 0.4)
    brimmed = here & (style != 2)
    b.cylinder(r + brim, 0.06, cloth, rounding=0.05, at=(0, 0, 0), present=brimmed)
    b.torus(r + brim, 0.07, cloth, at=(0, 0, 0.03), present=brimmed & b.chance(0.5))
    b.cylinder(r, h, cloth, top=r * b.uniform(0.9, 1.2), at=(0, 0, h), present=tops)
    b.ellipsoid((r * 1.02, r * 1.1, h * 1.3), cloth, at=(0, 0, 0.05), present=bowl)
    tall = b.uniform(0.6, 0.9)
    b.cylinder(r, tall, cloth, top=0.07, at=(0, 0, tall), present=cone)
    band = b.uniform(0.07, 0.12)
    b.cylinder(r * 1.07, band, trim, at=(0, 0, 0.05 + band), present=brimmed & b.chance(0.75))
    b.box((0.11, 0.07, 0.1), b.plain(b.pick(p.metal, p.light, p.accent), 0.8), at=(0, -r * 1.07, 0.05 + band),
          present=brimmed & b.chance(0.4))  # fmt: skip
    d, high = r * 1.3, b.uniform(0.5, 0.65)
    b.ellipsoid((d, d * 1.1, high), cloth, at=(0, 0, 0), present=cap)
    reach = b.uniform(0.35, 0.55)
    b.ellipsoid((d * 0.85, d * 0.6 + reach, 0.1), trim, rotate=(b.uniform(2, 9), 0, 0), at=(0, -d * 0.65, 0.05),
                present=cap)  # fmt: skip
    b.box((2, 2, 0.5), cloth, at=(0, 0.9 - d, -0.55), operation="subtract", present=cap | bowl)
    b.cylinder(r + brim, 0.06, cloth, rounding=0.05, at=(0, 0, 0), present=bowl)
    b.sphere(0.09, trim, at=(0, 0, high + 0.02), present=cap)
    b.box(
        (d * 0.45, 0.3, high * 0.3), trim, at=(0, -d - 0.05, high * 0.5), operation="paint", present=cap & b.chance(0.6)
    )
    b.sphere(0.12, trim, at=(0, 0, 2 * tall), present=cone & b.chance(0.5))


def _rider_helmet(b: Builder, here: Tensor) -> None:
    """Round shell with a dark visor under a chin bar or an open face, stripes, peak, vents."""
    p = b.palette
    shell = b.pattern(b.pick(p.main, p.light, p.dark, p.second), p.accent, axis=2, chance=0.3, kinds=(3, 1), gloss=1.0,
                      period=(0.5, 0.9))  # fmt: skip
    glass, trim = b.plain(b.pick(p.dark, p.glass * 0.6, p.accent), 1.0), b.plain(b.pick(p.accent, p.dark, p.light), 0.7)
    r, d, h = b.uniform(0.6, 0.68), b.uniform(0.68, 0.8), b.uniform(0.64, 0.74)
    closed, tilt = b.chance(0.65), b.uniform(-4, 4)
    b.ellipsoid((r, d, h), shell, at=(0, 0, 0), present=here)
    b.cylinder(r * 0.86, 0.2, shell, at=(0, 0.02, -h * 0.55), present=here)
    b.box((r * 0.62, 0.3, 0.17), shell, rounding=0.13, at=(0, -d * 0.62, -h * 0.5), blend=0.1, present=here & closed)
    b.box((2, 2, 0.5), b.plain(p.dark), at=(0, 0, -h * 0.72 - 0.5), operation="subtract", present=here)
    b.box((2, 1, h * 0.5), b.plain(p.dark), at=(0, -1 - d * 0.25, -h * 0.45), operation="subtract",
          present=here & ~closed)  # fmt: skip
    tall, z = b.uniform(0.17, 0.23), b.uniform(0.02, 0.1)
    b.box((r * 2, d, tall), glass, rotate=(tilt, 0, 0), rounding=0.08, at=(0, -d * 1.15, z), operation="subtract",
          present=here)  # fmt: skip
    b.ellipsoid((r * 0.97, d * 0.97, h * 0.9), glass, at=(0, 0.01, 0), present=here & closed)
    b.ellipsoid((r * 0.9, d * 0.8, h * 0.8), b.plain(p.wood * 0.7), at=(0, 0.1, 0), present=here & ~closed)
    b.box((2, 2, 0.5), b.plain(p.dark), at=(0, 0, -h * 0.72 - 0.5), operation="subtract", present=here)
    stripe = b.uniform(0.08, 0.2)
    b.box((stripe, 2, h), trim, at=(0, 0.2, h + z + tall + 0.05), operation="paint", present=here & b.chance(0.5))
    b.box((r * 0.75, 0.28, 0.06), trim, rotate=(-8, 0, 0), rounding=0.04, at=(0, -d * 0.95, z + tall + 0.15),
          present=here & b.chance(0.35))  # fmt: skip
    b.cylinder(0.13, 0.08, trim, rotate=(0, 90, 0), at=(r * 0.94, -0.12, z), mirror="x", present=here)
    b.box((0.13, 0.05, 0.05), trim, at=(0, -d * 0.62 - 0.28, -h * 0.5), present=here & closed)
    b.torus(r * 0.62, 0.07, trim, at=(0, 0.02, -h * 0.72), present=here)


def shoe(b: Builder) -> None:
    """One shoe, toe to the front: boot (ankle to knee), trainer, high heel (pump or strap), clog or slipper."""
    p = b.palette
    kind = b.integer(0, 3)  # boot, trainer, high heel, clog
    upper = b.pattern(b.pick(p.main, p.wood, p.dark, p.second, p.light), p.accent, axis=None, chance=0.2,
                      kinds=(4, 5), period=(0.25, 0.5), gloss=0.4)  # fmt: skip
    sole = b.plain(b.pick(p.dark, p.light, p.wood, p.accent), 0.2)
    b.one_of(torch.where(kind == 2, 1, 0), partial(_flat_shoe, kind=kind, upper=upper, sole=sole),
             partial(_high_heel, upper=upper, sole=sole))  # fmt: skip


def _flat_shoe(b: Builder, here: Tensor, kind: Tensor, upper: Tensor, sole: Tensor) -> None:
    """Toe, instep and heel on a sole, with what a boot, a trainer or a clog has on top."""
    boot, trainer, clog = kind == 0, kind == 1, kind == 3
    w, back, thick = b.uniform(0.3, 0.38), b.uniform(0.24, 0.29), b.uniform(0.07, 0.14)
    front, rear, base = -b.uniform(0.6, 0.75), 0.55, 2 * thick
    toe, high = b.uniform(0.26, 0.38), b.uniform(0.5, 0.6)
    b.ellipsoid((w, w * 1.15, toe), upper, at=(0, front, base), present=here)
    b.limb((0, front, base + 0.02), (0, rear - 0.12, base + high - back), w * 0.78, upper, end_radius=back, blend=0.12,
           present=here & ~clog)  # fmt: skip
    b.ellipsoid((back, back * 1.05, high), upper, at=(0, rear, base), blend=0.1, present=here & ~clog)
    _shoe_top(b, upper, boot=boot, trainer=trainer, base=base + high, rear=rear, back=back)
    _clog_top(b, upper, shown=clog, front=front, rear=rear, base=base, w=w)
    # What is round above the sole is round below it, too: cut off before the sole is put under.
    b.box((1, 2, 0.5), sole, at=(0, 0, thick - 0.5), operation="subtract", present=here)
    _shoe_details(b, trainer=trainer, laced=boot | trainer, front=front, rear=rear, base=base, w=w, high=high)
    wooden = clog & b.chance(0.6)
    bottom = torch.where(wooden[:, None], upper, sole)
    b.cylinder(w * 1.04, thick, bottom, at=(0, front, thick), present=here)
    b.cylinder(back * 1.06, thick, bottom, at=(0, rear, thick), present=here)
    middle, half = (front + rear) / 2, (rear - front) / 2
    b.box((back * 1.03, half, thick), bottom, at=(0, middle, thick), present=here)
    b.box((back * 0.95, 0.24, 0.1), bottom, at=(0, rear - 0.02, -0.06), present=(boot & b.chance(0.7)) | clog)


def _shoe_top(
    b: Builder, upper: Tensor, *, boot: Tensor, trainer: Tensor, base: Tensor, rear: float, back: Tensor
) -> None:
    """The shaft of a boot with its cuff, the collar of a trainer, and the opening of both."""
    p = b.palette
    tall, wide = b.uniform(0.18, 0.6), b.uniform(0.95, 1.25)
    tall = torch.where(trainer, b.uniform(0.08, 0.16), tall)
    lining, shown = b.plain(b.pick(p.wood, p.light, p.dark, p.accent)), boot | trainer
    y, z = rear - 0.08, base - 0.2
    b.cylinder(back * 1.05, tall + 0.1, upper, top=back * wide, at=(0, y, z + tall), blend=0.1, present=shown)
    top = z + 2 * tall + 0.1
    b.torus(back * wide * 0.9, b.uniform(0.06, 0.1), lining, at=(0, y, top - 0.04), present=shown & b.chance(0.7))
    b.cylinder(back * wide - 0.09, 0.16, b.plain(p.dark * 0.7), at=(0, y, top), operation="subtract", present=shown)
    b.torus(0.1, 0.055, lining, rotate=(0, 90, 0), at=(0, y + back * wide + 0.02, top - 0.1),
            present=shown & b.chance(0.4))  # fmt: skip


def _shoe_details(
    b: Builder,
    *,
    trainer: Tensor,
    laced: Tensor,
    front: Tensor,
    rear: float,
    base: Tensor,
    w: Tensor,
    high: Tensor,
) -> None:
    """Toe cap, heel counter, side stripes, laces up the instep."""
    p = b.palette
    trim = b.plain(b.pick(p.accent, p.light, p.second, p.dark), 0.5)
    b.box((1, 0.4, 0.5), trim, at=(0, front - w * 0.45 - 0.4, base + 0.4), operation="paint",
          present=laced & b.chance(0.5))  # fmt: skip
    b.box((1, 0.4, 0.22), trim, at=(0, rear + 0.52, base + 0.2), operation="paint", present=laced & b.chance(0.5))
    b.box((0.5, b.uniform(0.05, 0.08), 0.22), trim, rotate=(b.uniform(-45, -20), 0, 0),
          at=(0.5 + 0.12, b.uniform(-0.1, 0.05), base + 0.2), array=(1, 0.22, b.integer(1, 3)), mirror="x",
          operation="paint", present=trainer & b.chance(0.75))  # fmt: skip
    start, end = front + 0.2, rear - 0.35
    rise, z = high * 0.62, base + w * 0.78
    angle = torch.rad2deg(torch.atan2(rise, end - start))
    b.box((0.15, 0.055, 0.055), trim, rounding=0.03, rotate=(angle, 0, 0),
          at=(0, (start + end) / 2, z + rise / 2), array=(1, 0.17, b.integer(3, 4)), present=laced)  # fmt: skip


def _high_heel(b: Builder, here: Tensor, upper: Tensor, sole: Tensor) -> None:
    """Toe on the ground, arch rising to a heel on a thin or thick post, open at the top, maybe an ankle strap."""
    p = b.palette
    rise, w, thin = b.uniform(0.5, 0.85), b.uniform(0.24, 0.29), b.uniform(0.06, 0.15)
    point = b.uniform(0.35, 0.6)
    b.ellipsoid((w, point, 0.2), upper, at=(0, -0.6, 0.14), present=here)
    b.limb((0, -0.62, 0.15), (0, 0.55, rise + 0.1), w * 0.72, upper, end_radius=w * 0.72, blend=0.1, present=here)
    b.ellipsoid((w * 0.85, 0.26, 0.26), upper, at=(0, 0.6, rise + 0.2), blend=0.1, present=here)
    b.ellipsoid((w * 0.62, 0.75, 0.2), b.plain(b.pick(p.light, p.wood)), at=(0, 0.12, rise * 0.62 + 0.42),
                rotate=(torch.rad2deg(torch.atan2(rise, torch.tensor(1.15))), 0, 0), operation="subtract",
                present=here)  # fmt: skip
    b.limb((0, 0.68, rise + 0.05), (0, 0.74, 0.06), 0.17, sole, end_radius=thin, flat=True, present=here)
    b.box((w * 0.8, 0.3, 0.06), sole, rounding=0.03, at=(0, -0.62, 0.0), present=here & b.chance(0.5))
    strap = here & b.chance(0.45)
    ring = w * 0.85
    b.torus(ring, 0.055, upper, at=(0, 0.5, rise + 0.55), present=strap)
    b.limb((0, 0.8, rise + 0.25), (0, 0.5 + ring, rise + 0.55), 0.06, upper, present=strap)
    b.ellipsoid((0.13, 0.09, 0.1), b.plain(b.pick(p.accent, p.metal), 0.9), at=(0, -0.62, 0.33),
                present=here & b.chance(0.45))  # fmt: skip


def _clog_top(b: Builder, upper: Tensor, *, shown: Tensor, front: Tensor, rear: float, base: Tensor, w: Tensor) -> None:
    """The high instep of a clog, its turned-up tip, flowers or holes, and the wide opening behind."""
    p = b.palette
    high, back = b.uniform(0.42, 0.52), b.uniform(0.29, 0.33)
    b.ellipsoid((w, 0.6, high), upper, at=(0, front + 0.3, base), blend=0.1, present=shown)
    b.box((back, 0.5, 0.26), upper, rounding=0.15, at=(0, rear - 0.22, base + 0.08), blend=0.08, present=shown)
    b.ellipsoid((back * 0.97, 0.36, b.uniform(0.38, 0.52)), upper, at=(0, rear, base), blend=0.1, present=shown)
    tip, curl = front - w * 1.1, b.uniform(0.15, 0.4)
    b.limb((0, front, base + 0.08), (0, tip - 0.1, base + curl), 0.2, upper, end_radius=0.075, blend=0.1,
           present=shown & b.chance(0.65))  # fmt: skip
    lining = b.plain(b.pick(p.wood, p.light, p.dark))
    b.ellipsoid(
        (back - 0.07, 0.45, 0.46), lining, at=(0, rear - 0.24, base + 0.46), operation="subtract", present=shown
    )
    dots = shown & b.chance(0.6)
    for x, y, z in ((0.0, 0.0, high * 0.8), (0.17, 0.2, high * 0.85)):
        b.sphere(0.11, b.plain(b.pick(p.accent, p.light, p.dark)), at=(x, front + y, base + z), mirror="x",
                 operation="paint", present=dots)  # fmt: skip
