"""Things that stand outdoors: tent, well."""

from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def tent(b: Builder) -> None:
    """Ridge tent with poles and lines, tipi, yurt or round pavilion, market stall with a counter and goods."""
    style = b.integer(0, 3)
    p = b.palette
    cloth = b.pattern(b.pick(p.main, p.second, p.accent, p.light, p.leaf), b.pick(p.light, p.light, p.accent),
                      axis=0, chance=0.45, kinds=(1,), period=(0.25, 0.5))  # fmt: skip
    b.one_of(style, _ridge_tent, _tipi, partial(_yurt, cloth=cloth), partial(_stall, cloth=cloth))


def _ridge_tent(b: Builder, here: Tensor) -> None:
    """A prism open at the front, sometimes on low walls, with flaps, poles, lines to pegs and a fly."""
    p = b.palette
    cloth = b.pattern(b.pick(p.main, p.second, p.accent, p.leaf, p.light), b.pick(p.light, p.second), axis=1,
                      chance=0.4, kinds=(1,), period=(0.3, 0.6))  # fmt: skip
    w, d, tall = b.uniform(0.55, 0.85), b.uniform(0.65, 0.95), b.uniform(0.35, 0.55)
    wall = torch.where(b.chance(0.4), b.uniform(0.1, 0.2), 0.06)
    b.box((w, d, wall), cloth, rounding=0.02, at=(0, 0, wall), present=here)
    z = 2 * wall + tall - 0.03
    b.box((w * 0.53, d, tall), cloth, rounding=0.03, grow=(-0.93, 0), at=(0, 0, z), present=here)
    inside, wide = b.plain(b.pick(p.dark, p.dark, p.wood)), b.uniform(0.28, 0.42)
    height = wall + tall * b.uniform(0.75, 0.9)
    b.box((w * wide, d * 0.6, height), inside, rounding=0.0, grow=(-0.94, 0), at=(0, -d, height + 0.07),
          operation="subtract", present=here)  # fmt: skip
    flap = b.plain(b.pick(p.light, p.accent, p.second))
    b.limb((w * wide * 1.5, -d - 0.02, 0.08), (w * wide * 0.35, -d - 0.02, height * 1.5), 0.065, flap, mirror="x",
           present=here & b.chance(0.6))  # fmt: skip
    pole, top = b.plain(b.pick(p.wood, p.metal)), z + tall
    poles = here & b.chance(0.6)
    b.limb((0, d + 0.03, 0), (0, d + 0.03, top + 0.1), 0.055, pole, flat=True, mirror="y", present=poles)
    b.limb((0, -d - 0.04, top - 0.02), (0, d + 0.04, top - 0.02), 0.06, pole, flat=True,
           present=here & b.chance(0.75))  # fmt: skip
    lines, out = here & b.chance(0.5), b.uniform(0.12, 0.25)
    b.limb((w * 0.85, d * 0.7, 2 * wall), (w + out, d * 0.7, 0.03), 0.055, pole, mirror="xy", present=lines)
    b.box((w + out + 0.1, d + 0.14, 0.05), b.plain(b.pick(p.leaf, p.wood, p.metal)), at=(0, 0, 0.02),
          present=here & (lines | b.chance(0.25)))  # fmt: skip


def _tipi(b: Builder, here: Tensor) -> None:
    """A cone with a slit or a flap for a door, bands, and poles that cross on top."""
    p = b.palette
    skin = b.pattern(b.pick(p.light, p.light, p.wood, p.main), b.pick(p.wood, p.accent, p.second), axis=2, chance=0.4,
                     kinds=(1, 3), period=(0.4, 0.8))  # fmt: skip
    r, tall, top = b.uniform(0.6, 0.85), b.uniform(0.65, 0.85), b.uniform(0.09, 0.14)
    b.cylinder(r, tall, skin, top=top, at=(0, 0, tall), present=here)
    hem = b.plain(b.pick(p.accent, p.second, p.main, p.dark))
    b.box((2, 2, b.uniform(0.07, 0.14)), hem, at=(0, 0, tall * b.uniform(0.05, 1.0)), operation="paint",
          present=here & b.chance(0.6))  # fmt: skip
    b.box((2, 2, 0.2), hem, at=(0, 0, tall * 1.9), operation="paint", present=here & b.chance(0.5))
    door, wide = tall * b.uniform(0.38, 0.55), b.uniform(0.13, 0.2)
    b.box((wide, r, door), b.plain(p.dark), rounding=0.0, grow=(-0.85, 0), at=(0, -r, door - 0.02), operation="paint",
          present=here)  # fmt: skip
    edge = -r * (1 - 2 * door / (2 * tall))
    b.limb((wide * 1.8, -r + 0.02, 0.06), (0.03, edge, 2 * door), 0.06, hem, mirror="x",
           present=here & b.chance(0.5))  # fmt: skip
    poles, n = b.plain(b.pick(p.wood, p.wood, p.metal)), b.integer(3, 6)
    length, lean = b.uniform(0.17, 0.26), b.uniform(15, 28)
    b.cylinder(0.055, length, poles, rounding=0.01, at=(0, 0, 2 * tall + length * 0.7),
               rotate=(lean, 0, 0), present=here)  # fmt: skip
    b.cylinder(0.055, length, poles, rounding=0.01, at=(0, 0, 2 * tall + length * 0.7),
               rotate=(-lean, lean, 0), present=here)  # fmt: skip
    b.cylinder(0.055, length, poles, rounding=0.01, at=(0, 0, 2 * tall + length * 0.7),
               rotate=(0, -lean, 0), present=here & (n > 3))  # fmt: skip
    b.cylinder(r + 0.07, 0.055, b.plain(b.pick(p.leaf, p.wood)), at=(0, 0, 0.02), present=here & b.chance(0.4))


def _yurt(b: Builder, here: Tensor, cloth: Tensor) -> None:
    """A round wall with a flat cone or a dome on it, a crown, a framed door, ropes, a stove pipe or a flag."""
    p = b.palette
    r, tall, pitch = b.uniform(0.6, 0.85), b.uniform(0.2, 0.42), b.uniform(0.14, 0.42)
    wall = b.pattern(b.pick(p.light, p.light, p.main, p.wood), b.pick(p.accent, p.second), axis=2, chance=0.4,
                     kinds=(1, 3), period=(0.2, 0.5))  # fmt: skip
    b.cylinder(r, tall, wall, at=(0, 0, tall), present=here)
    dome, over = b.chance(0.25), b.uniform(0.03, 0.1)
    z = 2 * tall
    b.cylinder(r + over, pitch, cloth, top=r * b.uniform(0.08, 0.25), at=(0, 0, z + pitch), present=here & ~dome)
    b.ellipsoid((r + 0.02, r + 0.02, pitch * 1.6), cloth, at=(0, 0, z), present=here & dome)
    trim = b.plain(b.pick(p.accent, p.second, p.wood, p.dark))
    b.cylinder(r + over, 0.06, trim, at=(0, 0, z), present=here & b.chance(0.7))
    b.cylinder(r + 0.025, 0.05, trim, at=(0, 0, tall * b.uniform(0.6, 1.2)), present=here & b.chance(0.4))
    peak = z + torch.where(dome, pitch * 1.6, pitch * 2)
    b.cylinder(r * 0.26, 0.07, trim, top=r * 0.18, at=(0, 0, peak), present=here & b.chance(0.6))
    mast = here & b.chance(0.4)
    b.cylinder(0.055, 0.2, b.plain(p.wood), at=(0, 0, peak + 0.15), present=mast)
    b.box((0.13, 0.055, 0.08), b.plain(p.accent), grow=(0, 0), at=(0.14, 0, peak + 0.27), present=mast)
    dw, dh = b.uniform(0.13, 0.19), tall * b.uniform(0.72, 0.85)
    b.box((dw + 0.06, 0.09, dh + 0.04), b.plain(b.pick(p.wood, p.light, p.dark)), at=(0, -r, dh + 0.02), present=here)
    b.box((dw, 0.05, dh - 0.03), b.plain(b.pick(p.accent, p.main, p.second, p.dark)), at=(0, -r - 0.08, dh - 0.01),
          present=here)  # fmt: skip
    b.cylinder(0.07, 0.25, b.plain(b.pick(p.metal, p.dark)), at=(r * 0.55, 0.1, z + pitch + 0.15),
               present=here & ~mast & b.chance(0.4))  # fmt: skip


def _stall(b: Builder, here: Tensor, cloth: Tensor) -> None:
    """Four posts, a gabled, pyramid or slanting roof of cloth with a valance, a counter with goods, a back wall."""
    p = b.palette
    w, d, tall = b.uniform(0.6, 0.85), b.uniform(0.4, 0.6), b.uniform(0.95, 1.25)
    post = b.plain(b.pick(p.wood, p.wood, p.metal, p.light))
    r = b.uniform(0.055, 0.08)
    kind, pitch, over, tilt = b.integer(0, 2), b.uniform(0.14, 0.28), b.uniform(0.05, 0.14), b.uniform(12, 20)
    rise = torch.where(kind == 2, (d - r) * tilt.deg2rad().tan(), 0.0)
    for y, height in ((r - d, tall - rise), (d - r, tall + rise)):
        b.box((r, r, height / 2 + 0.04), post, at=(w - r, y, height / 2 + 0.04), mirror="x", present=here)
    b.box(((w + over) * 0.55, (d + over) * 0.55, pitch), cloth, rounding=0.02, grow=(-0.82, -0.82),
          at=(0, 0, tall + pitch), present=here & (kind == 0))  # fmt: skip
    b.box((w + over, (d + over) * 0.53, pitch), cloth, rounding=0.02, grow=(0, -0.9), at=(0, 0, tall + pitch),
          present=here & (kind == 1))  # fmt: skip
    b.box((w + over, d + over + 0.08, 0.06), cloth, rotate=(tilt, 0, 0), at=(0, 0, tall + 0.08),
          present=here & (kind == 2))  # fmt: skip
    valance = b.pattern(b.pick(p.light, p.accent, p.second), b.pick(p.main, p.accent), axis=0, chance=0.6, kinds=(1,),
                        period=(0.2, 0.35))  # fmt: skip
    b.box((w + over * 0.8, d + over * 0.8, b.uniform(0.06, 0.09)), valance, at=(0, 0, tall - 0.02),
          present=here & (kind < 2))  # fmt: skip
    top, market = b.uniform(0.36, 0.5), here & b.chance(0.75)
    desk = b.plain(b.pick(p.wood, p.main, p.second, p.light))
    b.box((w - 0.02, 0.16, top / 2), desk, at=(0, -d + 0.14, top / 2), present=market)
    b.box((w + 0.03, 0.2, 0.05), post, at=(0, -d + 0.12, top), present=market)
    goods, size = b.integer(2, 4), b.uniform(0.08, 0.12)
    b.sphere(size, b.plain(b.pick(p.accent, p.leaf, p.main), 0.6), at=(w * 0.1, -d + 0.12, top + 0.1),
             array=(0, w * 1.3 / goods, goods), present=market)  # fmt: skip
    b.box((0.15, 0.13, 0.08), b.plain(b.pick(p.wood, p.second)), at=(-w * 0.6, -d + 0.13, top + 0.1),
          present=market & b.chance(0.5))  # fmt: skip
    b.box((w - r, 0.055, tall / 2), b.plain(b.pick(p.light, p.wood, p.main)), at=(0, d - 0.06, tall / 2),
          present=here & b.chance(0.4))  # fmt: skip
    b.box((w + 0.08, d + 0.08, 0.055), b.plain(b.pick(p.wood, p.metal, p.leaf)), at=(0, 0, 0.03),
          present=here & (~market | b.chance(0.4)))  # fmt: skip
    b.box((0.3, 0.13, 0.14), desk, at=(0, d * 0.3, 0.2), present=here & ~market)
    b.sphere(0.09, b.plain(p.accent, 0.7), at=(0, 0, tall + 2 * pitch + 0.02), present=here & (kind == 0))


def well(b: Builder) -> None:
    """Well with a roof, windlass and bucket, fountain of one to three basins, pump with a trough."""
    style = b.integer(0, 2)
    p = b.palette
    color = b.pick(p.light, p.metal, p.wood, p.main, p.second)
    stone = b.pattern(color, color * 0.78, axis=2, chance=0.5, kinds=(1, 2), period=(0.16, 0.3))
    blue = torch.tensor([0.36, 0.62, 0.82]).expand(b.count, 3)
    water = b.plain(b.pick(blue, blue, p.glass, p.dark), 1.0)
    b.one_of(style, *(partial(kind, stone=stone, water=water) for kind in (_draw_well, _fountain, _pump)))


def _draw_well(b: Builder, here: Tensor, stone: Tensor, water: Tensor) -> None:
    """A round or square wall round water, two posts, a gabled or pointed roof, a windlass with a crank, a bucket."""
    p = b.palette
    r, tall, square = b.uniform(0.48, 0.66), b.uniform(0.2, 0.34), b.chance(0.3)
    rim, edge = b.plain(b.pick(p.light, p.metal, p.wood, p.dark)), b.uniform(0.12, 0.17)
    b.cylinder(r, tall, stone, at=(0, 0, tall), present=here & ~square)
    b.box((r, r * 0.9, tall), stone, at=(0, 0, tall), present=here & square)
    lip = here & b.chance(0.6)
    b.cylinder(r + 0.05, 0.06, rim, at=(0, 0, 2 * tall), present=lip & ~square)
    b.box((r + 0.05, r * 0.9 + 0.05, 0.06), rim, at=(0, 0, 2 * tall), present=lip & square)
    b.cylinder(r - edge, tall, b.plain(p.dark), at=(0, 0, tall * 1.7), operation="subtract", present=here)
    b.cylinder(r - edge + 0.03, tall * 0.6, water, at=(0, 0, tall * 0.65), present=here)
    wood, top = b.plain(b.pick(p.wood, p.wood, p.light, p.dark)), 2 * tall + b.uniform(0.6, 0.85)
    x = r - 0.07
    b.box((0.07, 0.07, top / 2), wood, at=(x, 0, top / 2), mirror="x", present=here)
    roof = b.pattern(b.pick(p.accent, p.main, p.second, p.wood), p.dark, axis=2, chance=0.4, kinds=(1,),
                     period=(0.14, 0.24))  # fmt: skip
    kind, pitch, over = b.integer(0, 3), b.uniform(0.16, 0.3), b.uniform(0.08, 0.18)
    b.box((r + over, (r + over) * 0.5, pitch), roof, rounding=0.02, grow=(0, -0.92), at=(0, 0, top + pitch - 0.04),
          present=here & (kind == 0))  # fmt: skip
    b.box(((r + over) * 0.53, r * 0.9, pitch), roof, rounding=0.02, grow=(-0.92, 0), at=(0, 0, top + pitch - 0.04),
          present=here & (kind == 1))  # fmt: skip
    b.cylinder(r + over, pitch, roof, top=0.06, at=(0, 0, top + pitch - 0.04), present=here & (kind == 2))
    b.box((r + over, 0.08, 0.075), wood, at=(0, 0, top), present=here & (kind == 3))
    bar = torch.where(kind == 3, top, 2 * tall + (top - 2 * tall) * b.uniform(0.6, 0.7))
    b.cylinder(b.uniform(0.06, 0.1), r + 0.02, wood, rotate=(0, 90, 0), at=(0, 0, bar), present=here)
    crank, metal = here & b.chance(0.65) & (kind != 3), b.plain(b.pick(p.metal, p.dark, p.accent), 0.7)
    b.limb((r, 0, bar), (r + 0.13, 0, bar), 0.055, metal, present=crank)
    b.limb((r + 0.13, 0, bar), (r + 0.13, -0.12, bar - 0.16), 0.055, metal, present=crank)
    hang = 2 * tall + b.uniform(-0.02, 0.12)
    b.limb((0, 0, bar), (0, 0, hang), 0.055, b.plain(b.pick(p.light, p.wood)), flat=True, present=here)
    pail = b.plain(b.pick(p.metal, p.accent, p.wood, p.second), 0.5)
    b.cylinder(0.12, 0.12, pail, top=0.15, at=(0, 0, hang - 0.04), present=here)
    b.cylinder(0.12, 0.12, pail, top=0.16, at=(-r - 0.18, -0.1, 0.12), present=here & b.chance(0.3))
    b.cylinder(r + 0.38, 0.055, b.plain(b.pick(p.leaf, p.metal)), at=(0, 0, 0.0), present=here & b.chance(0.35))


def _fountain(b: Builder, here: Tensor, stone: Tensor, water: Tensor) -> None:
    """A round or square pool on a step, a stem with one or two bowls that overflow, a jet, ball or figure on top."""
    p = b.palette
    r, tall, square = b.uniform(0.75, 0.95), b.uniform(0.14, 0.22), b.chance(0.3)
    step = here & b.chance(0.5)
    b.cylinder(r + 0.12, 0.05, b.plain(p.metal), at=(0, 0, 0.02), present=step & ~square)
    b.box((r + 0.08, r + 0.08, 0.05), b.plain(p.metal), at=(0, 0, 0.02), present=step & square)
    b.cylinder(r * b.uniform(0.85, 1.0), tall, stone, top=r, at=(0, 0, tall), present=here & ~square)
    b.box((r * 0.95, r * 0.95, tall), stone, at=(0, 0, tall), present=here & square)
    edge = b.uniform(0.11, 0.16)
    b.cylinder(r - edge, tall, stone, at=(0, 0, tall * 1.8), operation="subtract", present=here & ~square)
    b.box((r * 0.95 - edge, r * 0.95 - edge, tall), stone, at=(0, 0, tall * 1.8), operation="subtract",
          present=here & square)  # fmt: skip
    b.cylinder(r - edge + 0.03, tall * 0.6, water, at=(0, 0, tall * 0.75), present=here & ~square)
    b.box((r * 0.95 - edge + 0.03, r * 0.95 - edge + 0.03, tall * 0.6), water, at=(0, 0, tall * 0.75),
          present=here & square)  # fmt: skip
    marble = b.plain(b.pick(p.light, p.metal, p.wood, p.accent), 0.5)
    bowls, stem = b.integer(0, 2), b.uniform(0.08, 0.14)
    z, size = tall * 1.2, r * b.uniform(0.48, 0.62)
    b.cylinder(stem * 2, 0.1, marble, top=stem, at=(0, 0, z + 0.08), present=here)
    for bowl in range(2):
        present, rise = here & (bowls > bowl), b.uniform(0.38, 0.5) * (1 - 0.25 * bowl)
        b.cylinder(stem, rise / 2 + 0.05, marble, top=stem * 0.8, at=(0, 0, z + rise / 2), present=present)
        z = torch.where(present, z + rise, z)
        b.cylinder(stem, 0.1, marble, top=size, at=(0, 0, z), present=present)
        b.cylinder(size * 0.84, 0.06, water, at=(0, 0, z + 0.07), present=present)
        size = size * 0.6
    top, jet = b.integer(0, 2), b.uniform(0.15, 0.3)
    tall_jet = torch.where(bowls == 0, jet + 0.2, jet)
    b.cylinder(0.08, tall_jet, water, top=0.06, at=(0, 0, z + tall_jet), present=here & (top == 0))
    b.ellipsoid((0.16, 0.16, 0.12), water, at=(0, 0, z + 2 * tall_jet), present=here & (top == 0))
    b.cylinder(stem, tall_jet * 0.7, marble, top=stem * 0.7, at=(0, 0, z + tall_jet * 0.7), present=here & (top > 0))
    head = z + tall_jet * 1.4
    b.sphere(b.uniform(0.12, 0.18), marble, at=(0, 0, head + 0.06), present=here & (top == 1))
    b.cylinder(0.13, 0.16, marble, top=0.08, at=(0, 0, head + 0.1), present=here & (top == 2))
    b.sphere(0.1, marble, at=(0, 0, head + 0.32), present=here & (top == 2))
    b.torus(r * 0.34, 0.055, water, half_angle=1.5, rotate=(90, 0, 0), at=(r * 0.36, 0, tall * 1.6),
            mirror="x", present=here & (bowls == 0) & b.chance(0.6))  # fmt: skip


def _pump(b: Builder, here: Tensor, stone: Tensor, water: Tensor) -> None:
    """A post with a cap, a spout to the front, a lever at the right, on a slab, with a trough or a bucket."""
    p = b.palette
    iron = b.plain(b.pick(p.dark, p.accent, p.main, p.second, p.leaf), 0.6)
    trim = b.plain(b.pick(p.metal, p.dark, p.accent, p.light), 0.7)
    r, tall = b.uniform(0.14, 0.2), b.uniform(1.1, 1.4)
    b.box((0.55, 0.72, b.uniform(0.055, 0.1)), stone, at=(0, -0.15, 0.05), present=here)
    b.cylinder(r + 0.1, 0.08, trim, top=r + 0.04, at=(0, 0.1, 0.18), present=here)
    b.cylinder(r, tall / 2, iron, top=r * b.uniform(0.75, 1.0), at=(0, 0.1, 0.1 + tall / 2), present=here)
    wide = b.uniform(0.05, 0.09)
    b.cylinder(r + wide, 0.1, iron, at=(0, 0.1, tall * b.uniform(0.75, 0.85)), present=here & b.chance(0.6))
    b.cylinder(r + 0.04, 0.06, trim, at=(0, 0.1, tall * 0.45), present=here & b.chance(0.5))
    pointed = b.chance(0.5)
    b.ellipsoid((r + 0.06, r + 0.06, 0.15), trim, at=(0, 0.1, tall + 0.08), present=here & ~pointed)
    b.cylinder(r + 0.07, 0.1, trim, top=0.05, at=(0, 0.1, tall + 0.17), present=here & pointed)
    spout, out, thick = tall * b.uniform(0.58, 0.7), b.uniform(0.26, 0.36), b.uniform(0.075, 0.1)
    b.limb((0, 0.05, spout), (0, -out, spout + 0.02), thick, iron, present=here)
    b.limb((0, -out, spout + 0.02), (0, -out - 0.06, spout - 0.16), thick, iron, present=here)
    lever, x = tall * b.uniform(0.85, 0.95), b.uniform(0.4, 0.55)
    drop = b.uniform(0.2, 0.6)
    b.limb((0, 0.1, lever), (x, 0.1, lever + 0.12), 0.07, trim, present=here)
    b.limb((x, 0.1, lever + 0.12), (x + 0.14, 0.1, lever + 0.12 - drop), 0.065, trim, present=here)
    b.sphere(0.09, b.plain(b.pick(p.wood, p.accent)), at=(x + 0.14, 0.1, lever + 0.12 - drop), present=here)
    y, trough, high = -out - 0.12, b.chance(0.5), b.uniform(0.13, 0.2)
    vessel = b.plain(b.pick(p.wood, p.metal, p.light), 0.4)
    b.box((0.48, 0.22, high), vessel, at=(0, y, 0.08 + high), present=here & trough)
    b.box((0.4, 0.14, high), vessel, at=(0, y, 0.2 + high), operation="subtract", present=here & trough)
    b.box((0.41, 0.15, high * 0.7), water, at=(0, y, 0.08 + high * 0.8), present=here & trough)
    b.cylinder(0.17, high + 0.03, vessel, top=0.22, at=(0, y, 0.1 + high), present=here & ~trough)
    b.cylinder(0.165, 0.1, water, at=(0, y, 0.16 + 2 * high), operation="paint", present=here & ~trough)
    b.limb((0, y + 0.06, spout - 0.15), (0, y + 0.06, 0.2), 0.055, water, flat=True, present=here & b.chance(0.35))
