"""Structures: tower, temple."""

from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def tower(b: Builder) -> None:
    """Skyscraper with setbacks, pagoda of three to five roofs, water tower on legs, clock tower with a pointed roof."""
    style = b.integer(0, 3)
    b.one_of(style, _skyscraper, _pagoda, _water_tower, _clock_tower)


def _skyscraper(b: Builder, here: Tensor) -> None:
    """Square or round blocks, each inside the last and higher; floors of glass, a grid of piers, an end on top."""
    p = b.palette
    wall = b.plain(b.pick(p.light, p.metal, p.main, p.second, p.dark), 0.5)
    glass = b.plain(b.pick(p.glass, p.glass, p.dark, p.accent), 0.9)
    w, d, top = b.uniform(0.26, 0.4), b.uniform(0.24, 0.36), b.uniform(1.4, 2.0)
    tiers, turned, shrink = b.integer(1, 3), b.chance(0.3), b.uniform(0.68, 0.85)
    first = torch.where(tiers > 1, top * b.uniform(0.4, 0.75), top)
    second = torch.where(tiers > 2, first + (top - first) * b.uniform(0.45, 0.7), top)
    for tier, height in enumerate((first, second, top)):
        size, present = shrink**tier, here & (tiers > tier)
        b.box((w * size, d * size, height / 2), wall, at=(0, 0, height / 2), present=present & ~turned)
        b.cylinder(d * size * 1.1, height / 2, wall, at=(0, 0, height / 2), present=present & turned)
    step = b.uniform(0.17, 0.26)
    floors = ((top - 0.3) / step).floor()
    b.box((2, 2, step * 0.27), glass, at=(0, 0, top / 2), array=(2, step, floors), operation="paint", present=here)
    grid = here & ~turned & (tiers < 3) & b.chance(0.75)
    piers = b.integer(2, 3)
    b.box((0.045, 2, top), wall, at=(0, 0, 0), array=(0, w * 1.1 / piers, piers), operation="paint", present=grid)
    b.box((2, 0.045, top), wall, at=(0, 0, 0), array=(1, d * 1.1 / piers, piers), operation="paint", present=grid)
    crown, narrow = b.integer(0, 3), shrink ** (tiers - 1)
    cap = b.plain(b.pick(p.metal, p.accent, p.dark, p.glass), 0.8)
    x, y, tall = w * narrow, d * narrow, b.uniform(0.1, 0.3)
    b.box((x * 0.6, y * 0.6, 0.08), cap, at=(0, 0, top + 0.05), present=here & (crown == 0))
    b.box((x * 0.54, y * 0.54, tall), cap, grow=(-0.85, -0.85), at=(0, 0, top + tall - 0.02),
          present=here & (crown == 1) & ~turned)  # fmt: skip
    b.ellipsoid((y * 1.08, y * 1.08, tall), cap, at=(0, 0, top), present=here & (crown == 1) & turned)
    b.cylinder(0.075, 0.1 + tall, cap, top=0.05, at=(0, 0, top + tall), present=here & (crown >= 2))
    b.box((0.12, 0.08, 0.13), b.plain(b.pick(p.accent, p.dark, p.wood)), at=(0, -d, 0.1), present=here)
    b.box((w + 0.12, d + 0.14, 0.05), b.plain(b.pick(p.metal, p.dark, p.leaf)), present=here & b.chance(0.5))


def _pagoda(b: Builder, here: Tensor) -> None:
    """Storeys that shrink upwards, a wide roof on each, windows, a step and a spike."""
    p = b.palette
    wall = b.plain(b.pick(p.light, p.light, p.wood, p.main))
    roof = b.plain(b.pick(p.accent, p.dark, p.second, p.leaf), 0.4)
    floors, turned = b.integer(3, 5), b.chance(0.25)
    w, shrink, tall = b.uniform(0.36, 0.5), b.uniform(0.82, 0.92), b.uniform(0.16, 0.22)
    over, slope = b.uniform(0.16, 0.24), b.uniform(0.08, 0.12)
    z = torch.full((b.count,), 0.06)
    for floor in range(5):
        size, present = w * shrink**floor, here & (floors > floor)
        b.box((size, size, tall), wall, at=(0, 0, z + tall), present=present & ~turned)
        b.cylinder(size, tall, wall, at=(0, 0, z + tall), present=present & turned)
        eaves = z + 2 * tall + slope * 0.5
        b.box(((size + over) * 0.8, (size + over) * 0.8, slope), roof, rounding=0.02, grow=(-0.26, -0.26),
              at=(0, 0, eaves), present=present & ~turned)  # fmt: skip
        b.cylinder(size + over, slope, roof, top=size * 0.7, at=(0, 0, eaves), present=present & turned)
        z = torch.where(present, z + 2 * tall + slope, z)
    size = w * shrink ** (floors - 1)
    b.box((size * 0.5, size * 0.5, 0.12), roof, grow=(-0.8, -0.8), at=(0, 0, z + slope), present=here & ~turned)
    b.cylinder(size, 0.12, roof, top=0.06, at=(0, 0, z + slope), present=here & turned)
    spike = b.plain(b.pick(p.metal, p.accent), 0.9)
    b.cylinder(0.07, b.uniform(0.12, 0.24), spike, top=0.05, at=(0, 0, z + 0.26), present=here)
    b.box((w * 0.28, 2, tall * 1.1), b.plain(b.pick(p.dark, p.wood)), at=(0, -1.8, tall * 0.8 + 0.06),
          operation="paint", present=here)  # fmt: skip
    b.box((w + 0.14, w + 0.14, 0.06), b.plain(p.metal), at=(0, 0, 0.04), present=here)


def _water_tower(b: Builder, here: Tensor) -> None:
    """A round or ball-shaped tank on splayed legs with a ring of braces, a pipe down the middle and a gallery."""
    p = b.palette
    tank = b.pattern(b.pick(p.light, p.metal, p.wood, p.main, p.accent), b.pick(p.accent, p.second, p.light),
                     axis=2, chance=0.5, kinds=(1, 3), period=(0.25, 0.6), gloss=0.4)  # fmt: skip
    steel = b.plain(b.pick(p.metal, p.dark, p.wood), 0.5)
    r, tall, legs, ball = b.uniform(0.42, 0.62), b.uniform(0.25, 0.42), b.uniform(0.75, 1.2), b.chance(0.3)
    foot, leg = r * b.uniform(0.75, 1.1), b.uniform(0.06, 0.085)
    b.limb((foot, foot, 0), (r * 0.62, r * 0.62, legs + 0.1), leg, steel, flat=True, mirror="xy", present=here)
    brace, at = (foot + r * 0.62) / 2, legs * 0.5
    b.box((brace, 0.055, 0.055), steel, at=(0, brace, at), mirror="y", present=here)
    b.box((0.055, brace, 0.055), steel, at=(brace, 0, at), mirror="x", present=here)
    b.cylinder(b.uniform(0.07, 0.13), legs / 2 + 0.05, steel, at=(0, 0, legs / 2), present=here & b.chance(0.6))
    middle = legs + tall
    b.cylinder(r, tall, tank, at=(0, 0, middle), present=here & ~ball)
    b.ellipsoid((r * 1.1, r * 1.1, tall + 0.14), tank, at=(0, 0, middle), present=here & ball)
    b.ellipsoid((r, r, 0.22), steel, at=(0, 0, legs), present=here & ~ball & b.chance(0.5))
    roof, cone = b.plain(b.pick(p.accent, p.dark, p.second, p.metal), 0.4), b.uniform(0.1, 0.26)
    pointed = b.chance(0.65)
    b.cylinder(r + 0.06, cone, roof, top=0.06, at=(0, 0, middle + tall + cone - 0.01), present=here & ~ball & pointed)
    b.ellipsoid((r, r, cone * 1.2), roof, at=(0, 0, middle + tall), present=here & ~ball & ~pointed)
    b.cylinder(r + 0.13, 0.055, steel, at=(0, 0, legs + 0.06), present=here & b.chance(0.55))
    b.box((0.09, 0.055, (legs + tall) / 2), roof, at=(0, -r - 0.01, (legs + tall) / 2), present=here & b.chance(0.4))


def _clock_tower(b: Builder, here: Tensor) -> None:
    """A shaft with a plinth, a wider head with a clock on each side, a pointed roof and a ball."""
    p = b.palette
    wall = b.pattern(b.pick(p.light, p.wood, p.metal, p.main, p.second), p.light, axis=2, chance=0.35, kinds=(1, 2),
                     period=(0.15, 0.35))  # fmt: skip
    trim = b.plain(b.pick(p.light, p.metal, p.dark, p.wood))
    roof = b.plain(b.pick(p.accent, p.dark, p.second, p.leaf), 0.4)
    w, tall, head = b.uniform(0.24, 0.33), b.uniform(0.45, 0.7), b.uniform(0.24, 0.3)
    wide = w + b.uniform(0.0, 0.09)
    b.box((w, w, tall), wall, at=(0, 0, tall), grow=(b.uniform(-0.1, 0), -0.05), present=here)
    glass = b.plain(b.pick(p.dark, p.glass))
    b.box((0.06, 2, 0.11), glass, at=(0, 0, tall * 1.1), array=(2, tall * 0.5, b.integer(1, 2)), operation="paint",
          present=here)  # fmt: skip
    b.box((2, 0.06, 0.11), glass, at=(0, 0, tall * 1.1), operation="paint", present=here)
    top = 2 * tall + 2 * head
    b.box((wide, wide, head), wall, at=(0, 0, top - head), present=here)
    b.box((wide + 0.06, wide + 0.06, 0.06), trim, at=(0, 0, 2 * tall), present=here & b.chance(0.6))
    b.box((wide + 0.07, wide + 0.07, 0.06), trim, at=(0, 0, top), present=here)
    face, r = b.plain(b.pick(p.light, p.light, p.glass), 0.6), wide * b.uniform(0.66, 0.8)
    level, rim = top - head, b.plain(b.pick(p.dark, p.metal, p.accent), 0.7)
    for material, size, out in ((rim, r + 0.045, 0.02), (face, r, 0.045)):
        b.cylinder(size, wide + out, material, rounding=0.01, rotate=(90, 0, 0), at=(0, 0, level), present=here)
        b.cylinder(size, wide + out, material, rounding=0.01, rotate=(0, 90, 0), at=(0, 0, level), present=here)
    hand, turn = b.plain(p.dark * 0.6), b.uniform(0, 360)
    for length, angle in ((r * 0.42, turn), (r * 0.3, turn * 5)):
        x, z = angle.deg2rad().sin() * length, angle.deg2rad().cos() * length
        b.box((0.028, 0.2, length), hand, rounding=0.005, rotate=(0, angle, 0), at=(x, wide, level + z),
              mirror="y", operation="paint", present=here)  # fmt: skip
        b.box((0.2, 0.028, length), hand, rounding=0.005, rotate=(-angle, 0, 0), at=(wide, x, level + z),
              mirror="x", operation="paint", present=here)  # fmt: skip
    spire, steep = b.uniform(0.2, 0.42), b.chance(0.7)
    b.box(((wide + 0.05) * 0.53, (wide + 0.05) * 0.53, spire), roof, rounding=0.02, grow=(-0.88, -0.88),
          at=(0, 0, top + spire), present=here & steep)  # fmt: skip
    b.ellipsoid((wide, wide, spire * 1.2), roof, at=(0, 0, top), present=here & ~steep)
    peak = top + torch.where(steep, 2 * spire, spire * 1.2)
    b.sphere(0.075, rim, at=(0, 0, peak + 0.02), present=here & b.chance(0.7))
    b.box((0.11, 0.06, 0.17), b.plain(b.pick(p.wood, p.accent, p.dark)), at=(0, -w - 0.02, 0.17), present=here)
    b.box((w + 0.08, w + 0.08, b.uniform(0.06, 0.12)), trim, at=(0, 0, 0.04), present=here & b.chance(0.7))


def temple(b: Builder) -> None:
    """Columns on steps under a pediment, round temple with a dome, stepped pyramid with stairs, torii with a shrine."""
    style = b.integer(0, 3)
    p = b.palette
    stone = b.plain(b.pick(p.light, p.light, p.wood, p.metal, p.main))
    columns = (partial(kind, stone=stone) for kind in (_pediment_temple, _round_temple))
    b.one_of(style, *columns, _step_pyramid, _torii)


def _pediment_temple(b: Builder, here: Tensor, stone: Tensor) -> None:
    """Steps, a hall with a door, columns in front, behind and sometimes at the sides, gable to the front."""
    p = b.palette
    w, d, tall = b.uniform(0.6, 0.8), b.uniform(0.42, 0.6), b.uniform(0.25, 0.34)
    base = b.plain(b.pick(p.light, p.metal, p.wood))
    steps, rise = b.integer(1, 3), b.uniform(0.06, 0.08)
    for step in range(3):
        out, height = 0.09 * (steps - step), rise * (step + 1)
        b.box((w + out, d + out, height / 2 + 0.02), base, rounding=0.01, at=(0, 0, height / 2),
              present=here & (steps > step))  # fmt: skip
    z = rise * steps
    n, r = b.integer(4, 5), b.uniform(0.062, 0.078)
    x, y = w - r - 0.02, d - r - 0.02
    hall = b.uniform(0.55, 0.7)
    b.box((w * hall, d - 0.26, tall), b.plain(b.pick(p.main, p.second, p.wood, p.light)), at=(0, 0.04, z + tall),
          present=here)  # fmt: skip
    b.box((0.11, d, tall * 0.72), b.plain(b.pick(p.dark, p.wood)), at=(0, -d * 0.5, z + tall * 0.72 + 0.03),
          operation="paint", present=here)  # fmt: skip
    b.cylinder(r, tall, stone, top=r * 0.88, at=(0, y, z + tall), mirror="y", array=(0, 2 * x / (n - 1), n),
               present=here)  # fmt: skip
    sides = here & b.chance(0.55)
    rows = (d / 0.17).floor().clamp(3, 4)
    b.cylinder(r, tall, stone, top=r * 0.88, at=(x, 0, z + tall), mirror="x", array=(1, 2 * y / (rows - 1), rows),
               present=sides)  # fmt: skip
    top = z + 2 * tall
    b.box((w + 0.02, d + 0.02, 0.07), stone, rounding=0.01, at=(0, 0, top + 0.05), present=here)
    frieze = b.plain(b.pick(p.accent, p.main, p.light, p.second))
    b.box((2, 2, 0.04), frieze, at=(0, 0, top + 0.05), operation="paint", present=here & b.chance(0.5))
    pitch = b.uniform(0.12, 0.2)
    roof = b.plain(b.pick(p.accent, p.wood, p.light, p.main, p.second))
    b.box(((w + 0.07) * 0.52, d + 0.05, pitch), roof, rounding=0.02, grow=(-0.94, 0), at=(0, 0, top + pitch + 0.1),
          present=here)  # fmt: skip
    b.box((w * 0.42, 2, pitch * 0.75), stone, rounding=0.0, grow=(-0.94, 0), at=(0, 0, top + pitch * 0.88 + 0.1),
          operation="paint", present=here)  # fmt: skip
    b.sphere(0.075, frieze, at=(0, -d, top + 2 * pitch + 0.12), present=here & b.chance(0.4))


def _round_temple(b: Builder, here: Tensor, stone: Tensor) -> None:
    """Round steps, a ring of columns with or without a room inside, a dome or a cone, a ball or a lantern."""
    p = b.palette
    r, tall = b.uniform(0.5, 0.68), b.uniform(0.28, 0.46)
    base = b.plain(b.pick(p.light, p.metal, p.wood))
    steps = b.integer(1, 3)
    for step in range(3):
        b.cylinder(r + 0.09 * (steps - step), 0.035 * (step + 1) + 0.02, base, rounding=0.01,
                   at=(0, 0, 0.035 * (step + 1)), present=here & (steps > step))  # fmt: skip
    z = 0.07 * steps
    n, thick = b.integer(6, 8), b.uniform(0.062, 0.08)
    b.cylinder(thick, tall, stone, top=thick * 0.9, at=(0, 0, z + tall), radial=(n, r - thick - 0.01),
               rotate=(0, 0, 180 / n - 90), present=here)  # fmt: skip
    room = here & b.chance(0.6)
    b.cylinder(r * 0.6, tall, b.plain(b.pick(p.main, p.second, p.light)), at=(0, 0, z + tall), present=room)
    b.box((0.12, r, tall * 0.75), b.plain(p.dark), at=(0, -r, z + tall * 0.75 + 0.03), operation="paint", present=room)
    b.box((0.14, 0.14, 0.16), b.plain(b.pick(p.accent, p.metal)), at=(0, 0, z + 0.14), present=here & ~room)
    top = z + 2 * tall
    b.cylinder(r + 0.03, 0.075, stone, rounding=0.01, at=(0, 0, top + 0.05), present=here)
    roof = b.plain(b.pick(p.accent, p.main, p.second, p.metal, p.light), 0.5)
    dome, high = b.chance(0.65), b.uniform(0.22, 0.5)
    b.ellipsoid((r * 0.94, r * 0.94, high), roof, at=(0, 0, top + 0.1), present=here & dome)
    b.cylinder(r + 0.08, high * 0.5, roof, top=0.06, at=(0, 0, top + 0.1 + high * 0.5), present=here & ~dome)
    peak, knob = top + 0.1 + high, b.plain(b.pick(p.metal, p.accent, p.light), 0.9)
    b.cylinder(0.1, 0.1, knob, top=0.07, at=(0, 0, peak + 0.04), present=here & b.chance(0.5))
    b.sphere(0.08, knob, at=(0, 0, peak + 0.06), present=here & b.chance(0.5))


def _step_pyramid(b: Builder, here: Tensor) -> None:
    """Three to six square terraces, stairs at the front or all round, a shrine with a door on top."""
    p = b.palette
    color = b.pick(p.wood, p.metal, p.light, p.main)
    stone, trim = b.plain(color), b.plain(b.pick(color * 0.7, p.light, p.accent, p.leaf))
    w, n, rise = b.uniform(0.75, 0.95), b.integer(3, 6), b.uniform(0.6, 0.95)
    top = w * b.uniform(0.3, 0.4)
    tall, inset = rise / n, (w - top) / n
    slant, edged = b.uniform(0.0, 0.05), b.chance(0.4)
    for step in range(6):
        size, present = w - inset * step, here & (n > step)
        b.box((size, size, tall * 0.5), stone, rounding=0.015, grow=(-slant, -slant), at=(0, 0, tall * (step + 0.5)),
              present=present)  # fmt: skip
        b.box((2, 2, tall * 0.2), trim, at=(0, 0, tall * (step + 0.9)), operation="paint", present=present & edged)
    stairs = b.pattern(b.pick(p.light, color * 0.75, p.accent), color * 0.6, axis=2, chance=0.8, kinds=(1,),
                       period=(0.1, 0.16))  # fmt: skip
    ledge, wide = w - inset * (n - 1), b.uniform(0.13, 0.22)
    low, high = w + inset + 0.05, ledge + 0.05  # just before the terraces' edges
    middle = (low + high) / 2
    b.box((wide, middle, rise / 2), stairs, rounding=0.01, grow=(0, high / middle - 1), at=(0, 0, rise / 2 + 0.01),
          present=here)  # fmt: skip
    b.box((middle, wide, rise / 2), stairs, rounding=0.01, grow=(high / middle - 1, 0), at=(0, 0, rise / 2 + 0.01),
          present=here & b.chance(0.5))  # fmt: skip
    shrine = here & b.chance(0.8)
    size, room = ledge * b.uniform(0.6, 0.8), b.uniform(0.1, 0.16)
    b.box((size, size * 0.8, room), b.plain(b.pick(p.light, p.second, p.wood, color)), at=(0, 0, rise + room),
          present=shrine)  # fmt: skip
    b.box((size + 0.05, size * 0.8 + 0.05, 0.05), trim, at=(0, 0, rise + 2 * room), present=shrine)
    b.box((size * 0.4, 1, room * 0.75), b.plain(p.dark), at=(0, -1, rise + room * 0.7), operation="paint",
          present=shrine)  # fmt: skip


def _torii(b: Builder, here: Tensor) -> None:
    """Two posts, a lower beam and an upper one with raised ends, a tablet, pads, a platform, a shrine behind."""
    p = b.palette
    red = torch.tensor([0.82, 0.22, 0.14]).expand(b.count, 3)
    paint = b.plain(b.pick(red, p.accent, p.main, p.wood, p.metal), 0.4)
    cap = b.plain(b.pick(p.dark, p.dark, p.second, p.wood))
    w, tall, r = b.uniform(0.5, 0.68), b.uniform(1.1, 1.5), b.uniform(0.075, 0.11)
    lean, reach = b.uniform(0.0, 0.07), b.uniform(0.2, 0.34)
    b.limb((w + lean, 0, 0), (w, 0, tall), r, paint, flat=True, mirror="x", present=here)
    b.cylinder(r + 0.06, 0.1, b.plain(p.dark), at=(w + lean, 0, 0.09), mirror="x", present=here & b.chance(0.6))
    beam = tall * b.uniform(0.72, 0.8)
    b.box((w + reach * b.uniform(0.2, 0.7), 0.07, 0.065), paint, at=(0, 0, beam), present=here)
    b.box((w + reach * 0.7, r, 0.06), paint, at=(0, 0, tall - 0.01), present=here)
    up = b.uniform(0.0, 0.14)
    b.box((w * 0.6, r + 0.04, 0.07), cap, rounding=0.02, at=(0, 0, tall + 0.1), present=here)
    b.limb((w * 0.5, 0, tall + 0.1), (w + reach, 0, tall + 0.1 + up), 0.08, cap, mirror="x", present=here)
    b.box((0.1, 0.06, (tall - beam) / 2), b.plain(b.pick(p.accent, p.light, p.metal)), at=(0, -0.03, (tall + beam) / 2),
          present=here & b.chance(0.6))  # fmt: skip
    hut = here & b.chance(0.5)
    ground = here & (hut | b.chance(0.5))
    deep = torch.where(hut, 0.42, 0.1)
    b.box((w + 0.3, deep + 0.2, 0.055), b.plain(b.pick(p.metal, p.light, p.leaf)), at=(0, deep - 0.02, 0.03),
          present=ground)  # fmt: skip
    x, h, y = w * b.uniform(0.55, 0.75), b.uniform(0.16, 0.24), 0.55
    b.box((x, 0.22, h), b.plain(b.pick(p.light, p.wood, p.main)), at=(0, y, h + 0.06), present=hut)
    b.box((x * 0.35, 0.5, h * 0.7), b.plain(p.dark), at=(0, y - 0.5, h * 0.7 + 0.06), operation="paint", present=hut)
    b.box((x + 0.14, 0.2, 0.15), cap, rounding=0.02, grow=(-0.12, -0.85), at=(0, y, 2 * h + 0.18), present=hut)
