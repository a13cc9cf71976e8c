"""What flies: aeroplane, rocket, helicopter."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


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
