"""Vehicles on land and water: car, truck, boat, train engine, bus, tractor."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def car(b: Builder) -> None:
    """Rounded body, cabin with painted windows, four wheels, lights, optional spoiler and roof rack."""
    p = b.palette
    paint = b.pattern(b.pick(p.main, p.accent, p.second), p.light, axis=0, chance=0.25, gloss=0.9)
    w, length, h = b.uniform(0.4, 0.5), b.uniform(0.8, 1.1), b.uniform(0.14, 0.24)
    wheel = b.uniform(0.17, 0.24)
    floor = wheel * b.uniform(0.9, 1.3)
    z = floor + h
    b.box((w, length, h), paint, rounding=b.uniform(0.06, 0.13), at=(0, 0, z), grow=(-0.05, -0.03))
    cabin, top = b.uniform(0.3, 0.62) * length, b.uniform(0.15, 0.26)
    cy = b.uniform(-0.05, 0.25) * length
    cz = z + h + top - 0.05
    slope = b.uniform(-0.4, -0.1)
    b.box((w * 0.9, cabin, top), paint, rounding=0.07, grow=(-0.12, slope), at=(0, cy, cz), blend=0.05)
    glass = b.plain(p.dark * 0.6 + p.glass * 0.4, 1.0)
    b.box((w * 2, cabin * 0.76, top * 0.5), glass, grow=(0, slope), at=(0, cy, cz + 0.01), operation="paint")
    b.box((w * 0.7, cabin * 3, top * 0.5), glass, at=(0, cy, cz + 0.01), operation="paint")
    b.box((w * 2, 0.035, top), paint, at=(0, cy, cz), operation="paint")
    axle = length * b.uniform(0.55, 0.64)
    tyre, hub = b.plain(p.dark * 0.8), b.plain(b.pick(p.metal, p.light), 0.8)
    b.cylinder(wheel, 0.1, tyre, rounding=0.03, rotate=(0, 90, 0), at=(w * 0.95, axle, wheel), mirror="xy")
    b.cylinder(wheel * 0.55, 0.2, hub, rotate=(0, 90, 0), at=(w * 0.98, axle, wheel), mirror="xy", operation="paint")
    lamp = b.plain(torch.tensor([1.0, 0.95, 0.7]).expand(b.count, 3), 0.8)
    b.sphere(b.uniform(0.09, 0.13), lamp, at=(w * 0.66, -length, z + h * 0.2), mirror="x", operation="paint")
    tail = b.plain(torch.tensor([0.8, 0.1, 0.1]).expand(b.count, 3), 0.8)
    b.sphere(0.1, tail, at=(w * 0.7, length, z + h * 0.2), mirror="x", operation="paint")
    b.box((w * 0.9, 0.08, 0.045), b.plain(p.accent), at=(0, length * 0.93, z + h + 0.16), present=b.chance(0.25))
    b.box((w * 0.5, cabin * 0.4, 0.07), b.plain(p.second), at=(0, cy, cz + top + 0.05), present=b.chance(0.25))
    b.box((w * 0.95, 0.05, 0.06), b.plain(p.metal, 0.8), at=(0, -length, floor + 0.08), rounding=0.03)


def truck(b: Builder) -> None:
    """Cab in front and a cargo box, tank or open bed behind; two or three axles."""
    p = b.palette
    paint = b.plain(b.pick(p.main, p.accent), 0.7)
    cargo = b.pattern(b.pick(p.light, p.second, p.main), p.accent, axis=2, chance=0.5, gloss=0.4)
    w, wheel, half = b.uniform(0.34, 0.42), b.uniform(0.15, 0.2), b.uniform(0.8, 1.1)
    floor = wheel * 1.6
    cab_l, cab_h = b.uniform(0.22, 0.3), b.uniform(0.28, 0.4)
    b.box((w * 0.85, half, 0.07), b.plain(p.dark), at=(0, 0, floor))
    front = -half + cab_l
    cz = floor + cab_h
    b.box((w, cab_l, cab_h), paint, rounding=0.07, at=(0, front, cz), grow=(0, b.uniform(-0.2, 0.0)))
    glass = b.plain(p.dark * 0.6 + p.glass * 0.4, 1.0)
    b.box((w * 0.8, 0.3, cab_h * 0.32), glass, at=(0, -half, cz + cab_h * 0.4), operation="paint")
    b.box((w * 2, cab_l * 0.55, cab_h * 0.3), glass, at=(0, front, cz + cab_h * 0.4), operation="paint")
    kind = b.integer(0, 2)
    load_l, load_h = half - cab_l - 0.04, b.uniform(0.3, 0.52)
    ly = half - load_l
    base = floor + 0.06
    b.box((w * 1.05, load_l, load_h), cargo, rounding=0.03, at=(0, ly, base + load_h), present=kind == 0)
    b.capsule(load_l - w * 0.8, w * 0.9, cargo, rotate=(90, 0, 0), at=(0, ly, base + w * 0.85), present=kind == 1)
    bed = kind == 2
    b.box((w, load_l, 0.06), cargo, at=(0, ly, base + 0.03), present=bed)
    b.box((0.06, load_l, 0.16), cargo, at=(w, ly, base + 0.16), mirror="x", present=bed)
    b.box((w, 0.06, 0.16), cargo, at=(0, half - 0.05, base + 0.16), present=bed)
    b.sphere(w * 0.62, b.plain(b.pick(p.wood, p.accent, p.leaf)), at=(0, ly, base + 0.12), present=bed & b.chance(0.5))
    tyre, hub = b.plain(p.dark * 0.8), b.plain(p.metal, 0.7)
    for y, present in ((front, None), (half - 0.24, None), (half - 0.24 - wheel * 2.2, b.chance(0.5))):
        b.cylinder(wheel, 0.09, tyre, rotate=(0, 90, 0), at=(w * 0.95, y, wheel), mirror="x", present=present)
        b.cylinder(
            wheel * 0.5,
            0.3,
            hub,
            rotate=(0, 90, 0),
            at=(w * 0.95, y, wheel),
            mirror="x",
            operation="paint",
            present=present,
        )
    lamp = b.plain(torch.tensor([1.0, 0.95, 0.7]).expand(b.count, 3), 0.8)
    b.sphere(0.08, lamp, at=(w * 0.7, -half, floor + 0.1), mirror="x", operation="paint")
    b.limb(
        (w * 0.8, front + cab_l, floor),
        (w * 0.8, front + cab_l, cz + cab_h * 1.3),
        0.06,
        b.plain(p.metal, 0.8),
        present=b.chance(0.35),
    )


def boat(b: Builder) -> None:
    """Hull with a cut-out deck; sailing rig, or a cabin with a funnel."""
    p = b.palette
    hull = b.pattern(
        b.pick(p.main, p.wood, p.light, p.accent), b.pick(p.light, p.second), axis=2, chance=0.6, gloss=0.5
    )
    w, half, h = b.uniform(0.28, 0.4), b.uniform(0.65, 0.95), b.uniform(0.16, 0.24)
    grow = b.uniform(0.15, 0.35)
    stern = half * 0.6
    b.box((w, stern, h), hull, rounding=0.05, grow=(grow, 0.05), at=(0, half - stern, 0))
    b.ellipsoid((w * 1.1, half * 0.95, h * 1.9), hull, at=(0, 0, h * 0.9), blend=0.1)
    b.box((w * 3, half * 3, h * 2), b.plain(p.wood), at=(0, 0, h * 3), operation="subtract")
    b.box((w * 0.7, half * 0.6, h * 0.45), b.plain(p.wood), rounding=0.08, at=(0, half * 0.1, h), operation="subtract")
    sail = b.chance(0.5)
    mast, y = b.uniform(0.9, 1.5), b.uniform(-0.2, 0.1)
    b.cylinder(0.055, mast / 2, b.plain(p.wood), at=(0, y, mast / 2), present=sail)
    cloth = b.pattern(b.pick(p.light, p.light, p.main, p.accent), p.accent, axis=2, chance=0.5)
    sail_h, boom = mast * b.uniform(0.36, 0.42), half * b.uniform(0.3, 0.4)
    sz = h + 0.14 + sail_h
    b.box(
        (0.035, boom, sail_h),
        cloth,
        rounding=0.015,
        grow=(0, -0.9),
        shear=(0, -boom * 0.88),
        at=(0, y + boom + 0.05, sz),
        present=sail,
    )
    b.box(
        (0.035, boom * 0.7, sail_h * 0.85),
        cloth,
        rounding=0.015,
        grow=(0, -0.9),
        shear=(0, boom * 0.6),
        at=(0, y - boom * 0.75 - 0.04, sz),
        present=sail & b.chance(0.7),
    )
    cab_h, cab_l, cy = b.uniform(0.16, 0.3), half * b.uniform(0.25, 0.42), half * b.uniform(0.05, 0.3)
    cab = b.plain(b.pick(p.light, p.second))
    z = h + cab_h * 0.7
    b.box((w * 0.75, cab_l, cab_h), cab, rounding=0.04, grow=(-0.05, -0.1), at=(0, cy, z), present=~sail)
    glass = b.plain(p.dark * 0.5 + p.glass * 0.5, 1.0)
    b.box((w * 2, cab_l * 0.8, cab_h * 0.3), glass, at=(0, cy, z + cab_h * 0.35), operation="paint", present=~sail)
    b.box((w * 0.55, cab_l * 2, cab_h * 0.3), glass, at=(0, cy, z + cab_h * 0.35), operation="paint", present=~sail)
    b.cylinder(
        0.11,
        0.2,
        b.pattern(p.accent, p.dark, chance=0.6),
        at=(0, cy + cab_l * 0.3, z + cab_h + 0.14),
        present=~sail & b.chance(0.75),
    )
    b.box((w * 0.85, cab_l * 1.2, 0.045), b.plain(p.accent), at=(0, cy, z + cab_h), present=~sail & b.chance(0.5))


def train(b: Builder) -> None:
    """Steam engine: boiler, cab, chimney, domes, three pairs of wheels and a cow catcher."""
    p = b.palette
    boiler = b.pattern(b.pick(p.main, p.dark, p.second), p.accent, axis=2, chance=0.4, gloss=0.7)
    cab, dark = b.plain(b.pick(p.main, p.accent), 0.5), b.plain(p.dark, 0.5)
    half, r, wheel = b.uniform(0.7, 0.95), b.uniform(0.2, 0.3), b.uniform(0.15, 0.21)
    z = wheel * 1.7 + r
    length = half * 0.66
    b.box((r * 1.05, half, 0.07), dark, at=(0, 0, wheel * 1.5))
    b.cylinder(r, length, boiler, rotate=(90, 0, 0), at=(0, length - half + 0.08, z), rounding=0.04)
    cab_h, cab_l = b.uniform(0.34, 0.48), half - length - 0.02
    cy, cz = half - cab_l, wheel * 1.6 + cab_h
    b.box((r * 1.15, cab_l, cab_h), cab, at=(0, cy, cz), rounding=0.03)
    b.box((r * 2, cab_l * 0.5, cab_h * 0.3), b.plain(p.glass, 1.0), at=(0, cy, cz + cab_h * 0.4), operation="paint")
    b.box((r * 1.35, cab_l * 1.35, 0.05), dark, at=(0, cy, cz + cab_h), rounding=0.03)
    chimney = b.uniform(0.14, 0.24)
    b.cylinder(0.08, chimney, dark, top=b.uniform(0.07, 0.16), at=(0, -half * 0.75, z + r + chimney * 0.8))
    b.sphere(b.uniform(0.1, 0.14), b.plain(p.metal, 0.9), at=(0, -half * 0.2, z + r), present=b.chance(0.75))
    n = b.integer(2, 3)
    spacing = torch.where(n == 3, half * 0.62, half * 0.95)
    b.cylinder(
        wheel,
        0.08,
        b.plain(b.pick(p.accent, p.dark)),
        rotate=(0, 90, 0),
        at=(r * 1.05, 0, wheel),
        array=(1, spacing, n),
        mirror="x",
    )
    b.box((0.14, half * 0.6, 0.045), b.plain(p.metal), at=(r * 1.1, 0, wheel), mirror="x")
    b.box(
        (r * 0.9, 0.09, 0.11),
        b.plain(p.accent),
        grow=(-0.1, -0.7),
        shear=(0, 0.05),
        at=(0, -half - 0.03, wheel * 0.9),
        present=b.chance(0.7),
    )
    b.sphere(0.07, b.plain(p.light, 0.9), at=(0, -half + 0.05, z + r * 0.2), present=b.chance(0.6))


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
