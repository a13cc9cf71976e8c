"""Fixtures of a room: bathtub, toilet, washbasin, stairs, plant, television, appliance."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder

_FOOT = 0.07  # of appliances


def bathtub(b: Builder) -> None:
    """Hollow tub: boxed, rounded, on claw feet or round, its long side to the front; taps, water, one end raised."""
    p = b.palette
    shell = b.pattern(
        b.pick(p.light, p.light, p.main, p.second, p.wood, p.dark), p.light, axis=0, chance=0.2, gloss=0.7
    )
    white, metal = b.plain(b.pick(p.light, p.light, p.metal), 0.8), b.plain(b.pick(p.metal, p.metal, p.accent), 0.9)
    w, d, h = b.uniform(0.75, 1.05), b.uniform(0.36, 0.52), b.uniform(0.26, 0.38)
    kind = b.integer(0, 3)
    boxed, barrel = kind == 0, kind == 3
    oval = ~(boxed | barrel)
    flare, wall = b.uniform(0.0, 0.15), b.uniform(0.075, 0.11)
    clawed = oval & b.chance(0.6)
    z = h + torch.where(clawed, b.uniform(0.1, 0.2), 0.0)
    b.box((w, d, h), shell, rounding=0.03, at=(0, 0, z), present=boxed)
    b.box((w, d, h), shell, rounding=b.uniform(0.14, 0.3), grow=(flare, flare), at=(0, 0, z), present=oval)
    b.cylinder(w * 0.75, h, shell, top=w * 0.8, at=(0, 0, z), present=barrel)
    cut = z + h * torch.where(oval, 0.55, 0.95)
    rise = torch.where(b.chance(0.4) & oval, b.uniform(2, 6), 0.0) * torch.where(b.chance(0.5), 1.0, -1.0)
    b.box((4, 4, 1), white, rotate=(0, rise, 0), at=(0, 0, cut + 1), operation="subtract", present=oval)
    edge = b.uniform(0.06, 0.1)
    b.box((w * 1.02 + edge, d + edge, 0.06), white, rounding=0.05, at=(0, 0, cut), present=boxed)
    b.cylinder(w * 0.8 + edge * 0.6, 0.06, white, rounding=0.05, at=(0, 0, cut), present=barrel)
    b.box((w - wall, d - wall, h), white, rounding=b.uniform(0.1, 0.25), grow=(flare * 0.8 + 0.05, flare),
          at=(0, 0, z + wall * 2), operation="subtract", present=~barrel)  # fmt: skip
    b.cylinder(w * 0.75 - wall, h, white, top=w * 0.8 - wall, at=(0, 0, z + wall * 1.6),
               operation="subtract", present=barrel)  # fmt: skip
    water = b.plain(b.pick(p.glass, p.light), 1.0)
    b.box((w - wall, d - wall, h * 0.6), water, rounding=0.1, at=(0, 0, z - h * 0.25), present=~barrel & b.chance(0.35))
    b.sphere(b.uniform(0.09, 0.13), metal, at=(w * 0.68, d * 0.6, 0.1), mirror="xy", present=clawed)
    end = b.chance(0.5) & ~barrel  # the taps stand at the right end or behind
    x, y = torch.where(end, w, w * 0.1), torch.where(end, 0.0, torch.where(barrel, w * 0.8, d))
    up, reach = cut + b.uniform(0.16, 0.4), b.uniform(0.2, 0.32)
    b.limb((x, y, cut - 0.15), (x, y, up), 0.06, metal)
    b.limb((x, y, up), (x - torch.where(end, reach, 0.0), y - torch.where(end, 0.0, reach), up - 0.03), 0.06, metal)
    b.box(
        (torch.where(end, 0.05, 0.16), torch.where(end, 0.16, 0.05), 0.05), metal, rounding=0.045, at=(x, y, up - 0.08)
    )


def toilet(b: Builder) -> None:
    """Bowl with seat and lid (shut or up), pedestal or wall-hung, cistern close or high on a pipe."""
    p = b.palette
    china = b.plain(b.pick(p.light, p.light, p.light, p.main, p.dark), 0.8)
    seat = b.plain(b.pick(p.light, p.light, p.wood, p.main, p.accent, p.dark), 0.6)
    rx = b.uniform(0.33, 0.42)
    ry, rz, rim = rx * b.uniform(1.1, 1.4), b.uniform(0.36, 0.5), b.uniform(0.62, 0.8)
    square, hung = b.chance(0.25), b.chance(0.2)
    b.ellipsoid((rx, ry, rz), china, at=(0, 0, rim), present=~square)
    b.box((rx, ry, rz * 0.55), china, rounding=0.12, grow=(0.12, 0.12), at=(0, 0, rim - rz * 0.4), present=square)
    foot, length = rx * b.uniform(0.55, 0.85), ry * b.uniform(0.7, 0.95)
    b.box((foot, length, rim * 0.45), china, rounding=b.uniform(0.04, 0.2), grow=(b.uniform(-0.2, 0.2), -0.1),
          at=(0, ry * 0.2, rim * 0.45), blend=0.1, present=~hung)  # fmt: skip
    back = ry + 0.1
    b.box((rx * 0.75, 0.32, rz * 0.32), china, rounding=0.06, at=(0, back - 0.2, rim - rz * 0.36))
    b.box((2, 2, 0.5), china, at=(0, 0, rim + 0.5), operation="subtract")
    b.ellipsoid((rx * 1.05, ry * 1.03, 0.065), seat, at=(0, -0.02, rim + 0.03), present=~square)
    b.box((rx, ry * 0.98, 0.055), seat, rounding=0.05, at=(0, -0.02, rim + 0.03), present=square)
    b.ellipsoid((rx * 0.68, ry * 0.68, rz * 0.8), china, at=(0, -0.05, rim + 0.05), operation="subtract")
    up, tilt = b.chance(0.55), b.uniform(-14, -6)
    b.ellipsoid((rx, ry, 0.08), seat, at=(0, -0.02, rim + 0.1), present=~up)
    b.ellipsoid((rx * 0.98, 0.075, ry * 0.9), seat, rotate=(tilt, 0, 0), at=(0, ry - 0.1, rim + ry * 0.8), present=up)
    high, w, h = b.chance(0.2), rx * b.uniform(0.95, 1.3), b.uniform(0.26, 0.42)
    z = rim + torch.where(high, b.uniform(0.8, 1.1), b.uniform(-0.08, 0.06)) + h
    y = back + 0.1
    b.limb((0, y, rim - rz * 0.4), (0, y, z), 0.07, b.plain(p.metal, 0.8), flat=True)
    b.box((w, b.uniform(0.16, 0.22), h), china, rounding=0.05, grow=(b.uniform(-0.06, 0.1), 0), at=(0, y + 0.05, z))
    b.box((w + 0.04, 0.24, 0.06), china, rounding=0.04, at=(0, y + 0.05, z + h))
    b.box((0.09, 0.07, 0.055), b.plain(p.metal, 0.9), rounding=0.04, at=(0, y, z + h + 0.07), present=~high)
    b.limb((w, y, z + h * 0.5), (w + 0.08, y - 0.2, z - h * 1.2), 0.055, b.plain(b.pick(p.metal, p.wood)), present=high)


def washbasin(b: Builder) -> None:
    """Hollow basin (box, bowl or drum) on a pedestal, a cabinet or legs, with tap, splashback and mirror."""
    p = b.palette
    china = b.plain(b.pick(p.light, p.light, p.light, p.main, p.metal), 0.8)
    wood = b.plain(b.pick(p.wood, p.main, p.dark, p.light, p.second))
    metal = b.plain(b.pick(p.metal, p.metal, p.accent, p.dark), 0.9)
    w, h, leg = b.uniform(0.42, 0.85), b.uniform(0.14, 0.26), b.uniform(0.55, 1.0)
    d, kind, base = b.uniform(0.34, 0.46), b.integer(0, 2), b.integer(0, 2)
    boxy, bowl = kind == 0, kind == 1
    z, wall = leg + h, b.uniform(0.07, 0.1)
    r = torch.minimum(w, d + 0.08)
    b.box((w, d, h), china, rounding=b.uniform(0.02, 0.12), grow=(b.uniform(0, 0.1), 0.05), at=(0, 0, z), present=boxy)
    b.ellipsoid((w * 0.9, d, h * 2), china, at=(0, 0, z + h), present=bowl)
    b.cylinder(r * b.uniform(0.75, 1.0), h, china, top=r, rounding=0.05, at=(0, 0, z), present=kind == 2)
    b.box((3, 3, 1), china, at=(0, 0, z + h + 0.98), operation="subtract", present=bowl)
    b.box((w - wall, d - wall, h), china, rounding=0.1, at=(0, -0.03, z + wall * 1.4), operation="subtract",
          present=boxy)  # fmt: skip
    b.ellipsoid((w * 0.9 - wall, d - wall, h * 2 - wall), china, at=(0, 0, z + h), operation="subtract", present=bowl)
    b.cylinder(r * 0.8 - wall, h, china, top=r - wall, at=(0, 0, z + wall), operation="subtract", present=kind == 2)
    cabinet, thick = base == 0, b.uniform(0.1, 0.2)
    b.cylinder(
        thick * 1.5, leg / 2 + 0.04, china, top=thick, at=(0, 0.05, leg / 2 + 0.03), blend=0.06, present=base == 1
    )
    wide = torch.where(boxy, w, w * 1.15)
    b.box((wide * 0.97, d, leg / 2), wood, at=(0, 0, leg / 2), present=cabinet)
    leaves = b.integer(1, 3)
    b.box((wide * 0.9 / leaves - 0.02, 0.055, leg * 0.42), b.plain(b.pick(p.wood, p.light, p.second)),
          at=(0, -d - 0.01, leg / 2), array=(0, wide * 1.8 / leaves, leaves), present=cabinet)  # fmt: skip
    b.box((0.05, 0.05, b.uniform(0.05, 0.12)), metal, at=(0, -d - 0.09, leg * 0.6),
          array=(0, wide * 1.8 / leaves, leaves), present=cabinet)  # fmt: skip
    b.cylinder(0.06, leg / 2 + 0.05, metal, at=(w * 0.8, d * 0.72, leg / 2 + 0.05), mirror="xy", present=base == 2)
    b.box((w * 1.05, d * 1.02, 0.055), wood, at=(0, 0, leg), present=(base == 2) | cabinet)
    _tap_and_mirror(b, metal, w=w, back=d, top=z + h)


def _tap_and_mirror(b: Builder, metal: Tensor, *, w: Tensor, back: Tensor, top: Tensor) -> None:
    """A tap and a wall piece with a square or round mirror behind a basin of half width w."""
    p = b.palette
    up = top + b.uniform(0.1, 0.26)
    b.limb((0, back - 0.04, top - 0.3), (0, back - 0.04, up), 0.06, metal)
    b.limb((0, back - 0.04, up), (0, back - b.uniform(0.26, 0.36), up - 0.04), 0.055, metal)
    mirror, rounded, tall = b.chance(0.5), b.chance(0.4), b.uniform(0.25, 0.5)
    plain, glass = b.plain(b.pick(p.wood, p.light, p.accent, p.metal)), b.plain(p.glass, 1.0)
    z = top + b.uniform(0.3, 0.4) + tall
    b.box((w * 0.9, 0.055, 0.24), b.pattern(p.light, p.second, axis=0, kinds=(2, 1), period=(0.2, 0.3)),
          at=(0, back + 0.04, top), present=mirror | b.chance(0.4))  # fmt: skip
    b.box((0.1, 0.05, 0.3), plain, at=(0, back + 0.05, top + 0.35), present=mirror)
    wide = w * b.uniform(0.6, 1.0)
    b.box((wide, 0.06, tall), plain, at=(0, back + 0.05, z), present=mirror & ~rounded)
    b.box((wide - 0.09, 0.2, tall - 0.09), glass, at=(0, back - 0.12, z), operation="paint", present=mirror & ~rounded)
    b.cylinder(tall, 0.06, plain, rotate=(90, 0, 0), at=(0, back + 0.05, z), present=mirror & rounded)
    b.cylinder(tall - 0.09, 0.2, glass, rotate=(90, 0, 0), at=(0, back - 0.12, z), operation="paint",
               present=mirror & rounded)  # fmt: skip


def stairs(b: Builder) -> None:
    """A straight flight rising away from the front: solid, open treads on beams, side walls, railings with posts."""
    p = b.palette
    tread = b.pattern(b.pick(p.wood, p.light, p.metal, p.main), p.second, axis=0, chance=0.25, kinds=(1, 2))
    stone = b.plain(b.pick(p.light, p.wood, p.main, p.metal * 0.8, p.dark))
    rail = b.plain(b.pick(p.wood, p.metal, p.dark, p.accent), 0.5)
    n, rise, slope = b.integer(3, 8), b.uniform(1.0, 1.7), b.uniform(0.7, 1.3)
    rise = torch.where(n < 5, rise * 0.6, rise)
    run = rise * slope
    w, solid = b.uniform(0.3, 0.75), b.chance(0.5)
    dy, dz = run / n, rise / n
    over = b.uniform(0.0, 0.04)
    for step in range(8):
        top = dz * (step + 1)
        half = torch.where(solid, top / 2, torch.minimum(torch.as_tensor(0.06), dz * 0.4))
        deep = dy / 2 + torch.where(solid, 0.01, 0.03)
        b.box((w, deep, half), tread, rounding=0.015, at=(0, dy * (step + 0.5) - over, top - half), present=n > step)
    walls, thick = b.chance(0.4), dz / 2 + b.uniform(0.05, 0.25)
    b.box((0.06, thick, run / 2), stone, shear=(0, -rise / 2), rotate=(-90, 0, 0), at=(w, run / 2, rise / 2 + thick),
          mirror="x", present=walls)  # fmt: skip
    beam, one = ~solid & ~walls, b.chance(0.35)
    side, low = torch.where(one, 0.0, w * b.uniform(0.6, 1.0)), rise - dz * 0.6
    b.box((b.uniform(0.07, 0.14), 0.12, run / 2), stone, shear=(0, -low / 2), rotate=(-90, 0, 0),
          at=(side, run / 2, low / 2 + 0.05), mirror="x", present=beam)  # fmt: skip
    post, railing, tall = b.uniform(0.055, 0.07), ~walls & b.chance(0.65), b.uniform(0.35, 0.55)
    b.limb((w - 0.06, 0.02, dz * 0.7 + tall), (w - 0.06, run - 0.02, rise + tall), post, rail, mirror="x",
           present=railing)  # fmt: skip
    angle = torch.atan2(rise - dz * 0.7, run)
    posts = b.integer(2, 5)
    b.box((0.05, 0.05, tall / 2 * angle.cos()), rail, shear=(0, tall / 2 * angle.sin()),
          rotate=(angle.rad2deg(), 0, 0), at=(w - 0.06, run / 2, (rise + dz * 0.7) / 2 + tall / 2), mirror="x",
          array=(1, (run - 0.12) / angle.cos() / (posts - 1), posts), present=railing)  # fmt: skip
    b.box((w, b.uniform(0.1, 0.25), torch.where(solid, rise / 2, 0.06)), tread,
          at=(0, run + 0.1, torch.where(solid, rise / 2, rise - 0.06)), present=b.chance(0.5))  # fmt: skip


def plant(b: Builder) -> None:
    """A pot (cone, drum, cube or bowl, some on feet) with sword leaves, a bush, a little tree or a palm."""
    p = b.palette
    pot = b.pattern(b.pick(p.main, p.second, p.wood, p.light, p.dark, p.accent), p.light, axis=2, chance=0.4)
    green = b.pattern(b.pick(p.leaf, p.leaf, p.leaf * 0.7), b.pick(p.leaf * 0.6, p.light, p.accent), axis=2,
                      chance=0.35, kinds=(1, 4, 5), period=(0.15, 0.4))  # fmt: skip
    r, ph, shape = b.uniform(0.26, 0.48), b.uniform(0.18, 0.4), b.integer(0, 2)
    z = ph
    b.cylinder(r * b.uniform(0.6, 0.95), ph, pot, top=r, at=(0, 0, z), present=shape == 0)
    b.box((r * 0.85, r * 0.85, ph), pot, grow=(b.uniform(0, 0.2), b.uniform(0, 0.2)), at=(0, 0, z), present=shape == 1)
    b.ellipsoid((r * 1.05, r * 1.05, ph * 1.1), pot, at=(0, 0, z), present=shape == 2)
    b.torus(r * 0.95, b.uniform(0.05, 0.08), pot, at=(0, 0, 2 * ph), present=(shape == 0) & b.chance(0.6))
    b.cylinder(r * 0.6, 0.06, b.plain(p.wood * 0.5), at=(0, 0, 2 * ph))
    kind = b.integer(0, 4)
    top = 2 * ph
    trunk, bark = b.uniform(0.35, 0.9), b.plain(b.pick(p.wood, p.wood * 0.7))
    tree, palm, swords, bush = kind == 0, kind == 1, kind == 2, kind == 3
    lean = b.uniform(-0.12, 0.12)
    stem = torch.where(tree | palm, trunk, 0.1)
    b.limb((0, 0, top - 0.1), (lean, 0, top + stem), b.uniform(0.06, 0.1), bark, end_radius=0.06)
    x, head = torch.where(tree | palm, lean, 0.0), top + stem
    size, flat = b.uniform(0.3, 0.5), b.uniform(0.7, 1.2)
    b.ellipsoid((size, size, size * flat), green, at=(x, 0, head + size * flat * 0.6), blend=0.02, present=tree | bush)
    b.ellipsoid((size * 0.6, size * 0.6, size * 0.55), green, at=(x, 0, head + size * flat * b.uniform(0.1, 0.6)),
                radial=(b.integer(3, 6), size * b.uniform(0.55, 0.9)), blend=0.05,
                present=(tree & b.chance(0.4)) | bush)  # fmt: skip
    count, high, out = b.integer(5, 9), b.uniform(0.22, 0.5), b.uniform(0.05, 0.4)
    high = torch.where(palm, high * 0.5, high)
    leafy, wide = ~(tree | bush), b.uniform(0.08, 0.16)
    b.box((0.06, wide, high), green, grow=(0, torch.where(palm | (kind == 4), 0.3, -0.6)), shear=(out, 0),
          at=(x, 0, head + high - 0.08), radial=(count, out + 0.06), present=leafy)  # fmt: skip
    fall = b.uniform(0.1, 0.3)
    b.box((0.06, wide * 0.95, fall), green, grow=(0, 0.37), shear=(-out * 0.7, 0),
          at=(x, 0, head + 2 * high - 0.1 - fall), radial=(count, 2.7 * out + 0.06),
          present=leafy & ~swords)  # fmt: skip
    b.box((0.06, wide, high * 1.4), green, grow=(0, -0.6), at=(x, 0, head + high * 1.4 - 0.1), present=swords)
    fruits = b.plain(b.pick(p.accent, p.second, p.light), 0.6)
    b.sphere(b.uniform(0.06, 0.1), fruits, at=(x, 0, head + size * flat * 0.6), radial=(b.integer(4, 7), size * 0.97),
             present=(tree | bush) & b.chance(0.35))  # fmt: skip


def television(b: Builder) -> None:
    """Flat screen or box set with a picture: on a foot, two feet, a low board, or with a keyboard before it."""
    p = b.palette
    case = b.plain(b.pick(p.dark, p.dark, p.light, p.metal, p.main, p.wood), 0.5)
    picture = b.pattern(b.pick(p.dark, p.glass, p.main), b.pick(p.accent, p.second, p.glass), axis=None, chance=0.6,
                        period=(0.3, 1.0), gloss=0.9)  # fmt: skip
    w, old = b.uniform(0.6, 1.05), b.chance(0.45)
    w = torch.where(old, w * 0.8, w)
    h = w * torch.where(old, b.uniform(0.72, 0.9), b.uniform(0.5, 0.68))
    stand = b.integer(0, 3)
    board, lift = stand == 3, torch.where(stand == 2, b.uniform(0.05, 0.12), b.uniform(0.14, 0.3))
    low = torch.where(board, b.uniform(0.2, 0.36), 0.0)  # the height of the board
    z = 2 * low + torch.where(old & board, 0.02, lift) + h
    thick = torch.where(old, b.uniform(0.16, 0.26), b.uniform(0.06, 0.08))
    b.box((w, thick, h), case, rounding=b.uniform(0.01, 0.06), at=(0, 0, z))
    deep = b.uniform(0.14, 0.24)
    b.box((w * 0.75, h * 0.75, deep), case, grow=(-0.2, -0.2), rotate=(-90, 0, 0), at=(0, thick + deep - 0.04, z),
          present=old)  # fmt: skip
    b.box((w * 0.5, 0.08, h * 0.5), case, rounding=0.05, at=(0, thick, z - h * 0.2), present=~old & b.chance(0.5))
    edge, side = b.uniform(0.05, 0.09), torch.where(old & b.chance(0.6), 0.24 * w, 0.0)
    b.box((w - edge - side, 0.1, h - edge), picture, rounding=0.03, at=(-side + edge * 0.2, -thick - 0.06, z),
          operation="paint")  # fmt: skip
    b.cylinder(0.08, 0.06, b.plain(b.pick(p.metal, p.accent, p.light)), rotate=(90, 0, 0),
               at=(w - side * 0.6 - 0.04, -thick - 0.03, z + h * 0.1), array=(1, h * 0.5, 2),
               present=side > 0)  # fmt: skip
    b.limb((0.05, 0, z + h), (b.uniform(0.25, 0.5), 0, z + h + b.uniform(0.25, 0.5)), 0.055, b.plain(p.metal, 0.8),
           mirror="x", present=old & b.chance(0.6))  # fmt: skip
    metal, floor = b.plain(b.pick(p.metal, p.dark)), 2 * low
    one, reach = (stand != 2) & ~(old & board), b.uniform(0.2, 0.3)
    b.box((b.uniform(0.07, 0.2), 0.06, lift / 2 + 0.08), metal, at=(0, 0.03, floor + lift / 2 + 0.05), present=one)
    b.box((w * b.uniform(0.3, 0.55), reach, 0.05), metal, rounding=0.04, at=(0, 0, floor + 0.05), present=one)
    b.box((0.06, reach, lift / 2 + 0.06), metal, grow=(0, -0.7), at=(w * 0.72, 0, lift / 2 + 0.02), mirror="x",
          present=stand == 2)  # fmt: skip
    b.box((w * 0.6, 0.16, 0.055), b.pattern(p.light, p.dark, axis=0, chance=0.6, kinds=(2, 1), period=(0.15, 0.2)),
          at=(0, -0.4, 0.055), present=stand == 1)  # fmt: skip
    b.box((w * 0.2, 0.2, 0.05), metal, at=(0, -0.22, 0.05), present=stand == 1)
    wide, doors = torch.maximum(w * b.uniform(0.8, 1.25), w * 0.7), b.integer(2, 4)
    b.box((wide, 0.34, low - 0.06), b.plain(b.pick(p.wood, p.light, p.main)), at=(0, 0.06, low + 0.05), present=board)
    b.box((wide / doors - 0.03, 0.05, low - 0.11), b.plain(b.pick(p.wood, p.light, p.second)),
          at=(0, -0.29, low + 0.05), array=(0, 2 * wide / doors, doors), present=board)  # fmt: skip
    b.box((0.06, 0.06, 0.09), metal, at=(wide - 0.1, 0.24, 0.08), mirror="x", present=board)
    b.box((0.06, 0.06, 0.09), metal, at=(wide - 0.1, -0.16, 0.08), mirror="x", present=board)


def appliance(b: Builder) -> None:
    """Washing machine, stove, fridge or microwave: a box with a round, glazed or split door, knobs, hobs, handles."""
    p = b.palette
    case = b.plain(b.pick(p.light, p.light, p.metal, p.main, p.dark), 0.5)
    trim, glass = b.plain(b.pick(p.metal, p.dark, p.accent), 0.8), b.plain(b.pick(p.dark, p.glass), 0.9)
    kind = b.integer(0, 3)
    washer, stove, fridge, micro = kind == 0, kind == 1, kind == 2, kind == 3
    d = b.uniform(0.36, 0.52)
    w = torch.where(micro, b.uniform(0.8, 1.0), torch.where(fridge, b.uniform(0.4, 0.64), b.uniform(0.48, 0.64)))
    h = torch.where(micro, b.uniform(0.36, 0.5), torch.where(fridge, b.uniform(0.8, 1.05), b.uniform(0.6, 0.78)))
    z = _FOOT + h
    b.box((w, d, h), case, rounding=b.uniform(0.02, 0.1), at=(0, 0, z))
    b.cylinder(0.08, 0.06, b.plain(p.dark), at=(w - 0.1, d - 0.1, 0.05), mirror="xy")
    panel = b.plain(b.pick(p.dark, p.metal, p.light, p.second))
    b.box((w * 0.95, 0.06, h * 0.12), panel, at=(0, -d, _FOOT + h * 1.84), present=washer | stove)
    b.cylinder(b.uniform(0.06, 0.085), 0.07, trim, rotate=(90, 0, 0),
               at=(w * b.uniform(-0.1, 0.3), -d - 0.07, _FOOT + h * 1.84), array=(0, w * 0.3, b.integer(1, 4)),
               present=washer | stove)  # fmt: skip
    r = torch.minimum(w, h) * b.uniform(0.5, 0.68)
    b.torus(r, b.uniform(0.06, 0.1), trim, rotate=(90, 0, 0), at=(0, -d, _FOOT + h * 0.9), present=washer)
    b.ellipsoid((r, b.uniform(0.05, 0.14), r), glass, at=(0, -d, _FOOT + h * 0.9), present=washer)
    split = torch.where(fridge, b.uniform(0.28, 0.72), 0.0)  # where the two doors of a fridge meet
    _oven_and_fridge_doors(b, (w, d, h), (stove, fridge, micro), split=split, case=case, trim=trim, glass=glass)
    ring = torch.minimum(w, d) * b.uniform(0.26, 0.38)
    b.cylinder(
        ring,
        0.055,
        b.plain(p.dark),
        at=(w * 0.48, d * 0.46, 2 * h + _FOOT + 0.03),
        mirror="xy",
        present=stove,
    )
    b.box(
        (w, 0.07, b.uniform(0.1, 0.24)),
        panel,
        at=(0, d - 0.07, 2 * h + _FOOT + 0.05),
        present=stove & b.chance(0.5),
    )
    b.cylinder(0.24, b.uniform(0.1, 0.2), b.plain(b.pick(p.accent, p.metal, p.second), 0.7),
               at=(-w * 0.48, -d * 0.4, 2 * h + _FOOT + 0.2), present=stove & b.chance(0.4))  # fmt: skip


def _oven_and_fridge_doors(
    b: Builder, size: tuple[Tensor, Tensor, Tensor], kinds: tuple[Tensor, Tensor, Tensor], *, split: Tensor,
    case: Tensor, trim: Tensor, glass: Tensor
) -> None:  # fmt: skip
    """The doors of a stove, a fridge (halves meeting at `split` of its height, or two leaves) and a microwave."""
    (w, d, h), (stove, fridge, micro) = size, kinds
    p = b.palette
    door = b.plain(b.pick(p.light, p.metal, p.dark, p.second), 0.5)
    low = _FOOT + h * 0.85
    b.box((w * 0.93, 0.06, h * 0.76), door, at=(0, -d, low), present=stove)
    b.box((w * 0.65, 0.2, h * b.uniform(0.3, 0.45)), glass, at=(0, -d - 0.15, low - h * 0.1), operation="paint",
          present=stove)  # fmt: skip
    b.box((w * 0.75, 0.06, 0.055), trim, rounding=0.04, at=(0, -d - 0.11, low + h * 0.58), present=stove)
    leaves = fridge & b.chance(0.3)
    halves, gap = fridge & ~leaves, 0.025
    b.box(
        (w - 0.01, 0.07, h * split - gap),
        case,
        rounding=0.04,
        at=(0, -d - 0.02, _FOOT + h * split),
        present=halves,
    )
    b.box((w - 0.01, 0.07, h * (1 - split) - gap), case, rounding=0.04, at=(0, -d - 0.02, _FOOT + h * (1 + split)),
          present=halves)  # fmt: skip
    b.box(
        (w / 2 - 0.02, 0.07, h - gap),
        case,
        rounding=0.04,
        at=(0, -d - 0.02, _FOOT + h),
        array=(0, w, 2),
        present=leaves,
    )
    long = b.uniform(0.12, 0.26)
    b.box((0.055, 0.06, long), trim, rounding=0.04, at=(-w + 0.16, -d - 0.13, _FOOT + 2 * h * split),
          array=(2, long * 2 + 0.2, 2), present=halves)  # fmt: skip
    b.box(
        (0.055, 0.06, h * 0.4),
        trim,
        rounding=0.04,
        at=(0.1, -d - 0.13, _FOOT + h),
        mirror="x",
        present=leaves,
    )
    b.box(
        (w * 0.62, 0.2, h * 0.7),
        glass,
        at=(-w * 0.27, -d - 0.15, _FOOT + h),
        operation="paint",
        present=micro,
    )
    b.box((0.055, 0.06, h * 0.65), trim, rounding=0.04, at=(w * 0.42, -d - 0.06, _FOOT + h), present=micro)
    b.cylinder(0.09, 0.06, trim, rotate=(90, 0, 0), at=(w * 0.75, -d - 0.04, _FOOT + h),
               array=(1, h * 0.6, b.integer(1, 3)), present=micro)  # fmt: skip
