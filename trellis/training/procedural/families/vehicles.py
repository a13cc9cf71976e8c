"""Vehicles: car, truck, aeroplane, boat, rocket, train engine."""

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


def aeroplane(b: Builder) -> None:
    """Fuselage, swept wings (low or high), tail, engines or a propeller."""
    p = b.palette
    body = b.pattern(b.pick(p.light, p.main, p.second), p.accent, axis=0, chance=0.4, gloss=0.8)
    wing = b.pattern(b.pick(p.main, p.light, p.accent), p.second, axis=0, chance=0.35, gloss=0.5)
    r, half = b.uniform(0.13, 0.2), b.uniform(0.75, 1.05)
    b.capsule(half * 0.5, r * b.uniform(0.85, 1.0), body, top=r, rotate=(90, 0, 0), at=(0, -half * 0.4, 0))
    b.capsule(half * 0.5, r * 0.4, body, top=r, rotate=(90, 0, 0), at=(0, half * 0.5, r * 0.25), blend=0.1)
    span, chord, sweep = b.uniform(0.75, 1.15), b.uniform(0.17, 0.3), b.uniform(-0.05, 0.5)
    height, rise = r * b.uniform(-0.6, 0.8), b.uniform(-4, 9)
    b.box(
        (0.05, chord, span / 2),
        wing,
        rounding=0.03,
        grow=(0, b.uniform(-0.6, -0.1)),
        shear=(0, sweep / 2),
        rotate=(0, 90 - rise, 0),
        at=(span / 2, -half * 0.15 + sweep / 2, height),
        mirror="x",
    )
    _aeroplane_tail(b, wing, half=half, r=r)
    prop = _aeroplane_engines(b, half=half, r=r, wing_at=(span, height))
    glass = b.plain(p.dark * 0.5 + p.glass * 0.5, 1.0)
    b.ellipsoid((r * 0.8, r * 1.5, r * 0.8), glass, at=(0, -half * 0.75, r * 0.75), present=prop | b.chance(0.3))
    b.sphere(r * 0.8, glass, at=(0, -half * 0.95, r * 0.8), operation="paint")
    b.sphere(
        0.045,
        glass,
        array=(1, 0.15, b.integer(4, 7)),
        at=(r, 0, r * 0.35),
        mirror="x",
        operation="paint",
        present=~prop,
    )


def _aeroplane_tail(b: Builder, wing: Tensor, *, half: Tensor, r: Tensor) -> None:
    """Fin and tail plane at the end of a fuselage of half length `half` and radius `r`."""
    tail_y = half * 0.95
    fin = b.uniform(0.15, 0.24)
    b.box((0.045, 0.13, fin), wing, rounding=0.03, grow=(0, -0.35), shear=(0, 0.1), at=(0, tail_y, r * 0.3 + fin))
    tail_span = b.uniform(0.26, 0.42)
    tail_z = torch.where(b.chance(0.3), r * 0.3 + fin * 1.8, r * 0.3)
    b.box(
        (0.04, 0.11, tail_span / 2),
        wing,
        rounding=0.02,
        grow=(0, -0.35),
        shear=(0, 0.06),
        rotate=(0, 90, 0),
        at=(tail_span / 2, tail_y + 0.1, tail_z),
        mirror="x",
    )


def _aeroplane_engines(b: Builder, *, half: Tensor, r: Tensor, wing_at: tuple[Tensor, Tensor]) -> Tensor:
    """A propeller at the nose or jets below the wings of span and height `wing_at`; where it is a propeller."""
    p, (span, height) = b.palette, wing_at
    prop = b.chance(0.45)
    nose = -half * 0.9 - r * 0.9
    b.cylinder(0.07, 0.08, b.plain(p.dark), rotate=(90, 0, 0), at=(0, nose, 0), present=prop)
    b.box(
        (b.uniform(0.28, 0.4), 0.03, 0.05),
        b.plain(p.dark),
        rounding=0.02,
        rotate=(0, b.uniform(0, 90), 0),
        at=(0, nose - 0.03, 0),
        present=prop,
    )
    jet = b.plain(b.pick(p.metal, p.accent, p.dark), 0.8)
    b.cylinder(
        b.uniform(0.08, 0.12),
        b.uniform(0.14, 0.22),
        jet,
        rotate=(90, 0, 0),
        rounding=0.04,
        at=(span * b.uniform(0.35, 0.5), -half * 0.15, height - 0.12),
        mirror="x",
        present=~prop,
    )
    return prop


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


def rocket(b: Builder) -> None:
    """Body, nose cone, three to five fins, portholes, nozzle and optional boosters."""
    p = b.palette
    body = b.pattern(b.pick(p.light, p.metal, p.main), p.accent, axis=2, chance=0.5, gloss=0.7)
    trim = b.plain(b.pick(p.accent, p.main, p.second), 0.6)
    r, h = b.uniform(0.24, 0.38), b.uniform(0.5, 0.85)
    plump = b.chance(0.5)
    b.cylinder(r * 0.85, h, body, top=r * 0.95, rounding=0.04, at=(0, 0, 0), present=~plump)
    b.ellipsoid((r * 1.15, r * 1.15, h * 1.5), body, at=(0, 0, 0.1), present=plump)
    nose = b.uniform(0.2, 0.4)
    b.cylinder(r * 0.95, nose, trim, top=0.03, rounding=0.02, at=(0, 0, h + nose), present=~plump)
    b.box((2, 2, 0.5), trim, at=(0, 0, h * 0.95 + 0.5), operation="paint", present=plump)
    n = b.integer(3, 5)
    fin, low = b.uniform(0.2, 0.34), -h * 0.7
    b.box(
        (fin / 2 + 0.12, 0.045, b.uniform(0.18, 0.3)),
        trim,
        rounding=0.03,
        grow=(-0.5, 0),
        shear=(-fin * 0.35, 0),
        at=(0, 0, low),
        radial=(n, r * 0.7 + fin / 2),
    )
    b.cylinder(r * 0.7, 0.12, b.plain(p.dark), top=r * 0.45, at=(0, 0, -h - 0.08 - torch.where(plump, 0.2, 0.0)))
    window = b.plain(p.glass, 1.0)
    b.sphere(r * 0.5, b.plain(p.metal, 0.8), at=(0, -r, h * 0.5), operation="paint")
    b.sphere(r * 0.34, window, at=(0, -r, h * 0.5), operation="paint")
    b.sphere(r * 0.3, window, at=(0, -r, -h * 0.1), operation="paint", present=b.chance(0.5))
    b.capsule(h * 0.45, r * 0.42, trim, top=r * 0.3, at=(r * 1.25, 0, -h * 0.45), mirror="x", present=b.chance(0.25))
    b.torus(r * 0.92, 0.05, trim, at=(0, 0, -h * 0.35), present=~plump & b.chance(0.4))


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
