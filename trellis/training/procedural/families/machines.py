"""Machines: motorcycle, spaceship, fan."""

from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder, each_kind

_GLOWS = torch.tensor([[0.35, 0.85, 1.0], [1.0, 0.62, 0.2], [0.5, 1.0, 0.5], [1.0, 0.35, 0.45], [0.75, 0.6, 1.0]])


def motorcycle(b: Builder) -> None:
    """Racer with fairing, cruiser with a raked fork, scooter with leg shield, trail bike; cases, screen, exhausts."""
    p = b.palette
    color = b.pick(p.main, p.accent, p.second, p.dark)
    paint = b.pattern(color, b.pick(p.light, p.accent), axis=1, chance=0.35, kinds=(1, 3), gloss=0.9)
    steel, seat = b.plain(b.pick(p.metal, p.dark), 0.8), b.plain(b.pick(p.dark, p.wood * 0.7, p.dark * 0.8))
    kind = b.integer(0, 3)
    racer, cruiser, scooter, trail = kind == 0, kind == 1, kind == 2, kind == 3
    r = torch.where(scooter, b.uniform(0.19, 0.25), b.uniform(0.29, 0.36))
    tube = torch.where(trail, b.uniform(0.06, 0.075), b.uniform(0.075, 0.11))
    base = b.uniform(0.5, 0.62) + torch.where(cruiser, 0.08, 0.0) - torch.where(scooter, 0.04, 0.0)
    rake = torch.where(cruiser, b.uniform(0.3, 0.42), b.uniform(0.14, 0.24))
    head = torch.where(scooter, b.uniform(0.72, 0.86), r * 2 + b.uniform(0.14, 0.24))  # height of the steering head
    hy = rake - base
    _motorcycle_wheels(b, paint, r=r, tube=tube, base=base, trail=trail)
    b.limb((0.1, -base, r), (0.075, hy, head), 0.055, steel, mirror="x")
    bar, pull = b.uniform(0.24, 0.36), torch.where(racer, -0.02, b.uniform(0.08, 0.2))
    high = torch.where(cruiser, b.uniform(0.1, 0.3), torch.where(racer, 0.0, b.uniform(0.05, 0.13)))
    b.limb((0.05, hy, head - 0.02), (bar * 0.8, hy + 0.03, head + high), 0.05, steel, mirror="x")
    grip = (bar, hy + pull, head + high)
    b.limb((bar * 0.75, hy + 0.03, head + high), grip, 0.055, b.plain(p.dark), mirror="x")
    b.limb((bar * 0.7, hy + 0.03, head + high), (bar * 0.85, hy, head + high + 0.17), 0.045, steel, mirror="x",
           present=~racer & b.chance(0.4))  # fmt: skip
    lamp, light = b.uniform(0.085, 0.13), b.plain(torch.tensor([1.0, 0.95, 0.7]).expand(b.count, 3), 0.9)
    b.sphere(lamp * 1.15, steel, at=(0, hy - 0.08, head - 0.05))
    _motorcycle_body(b, paint, seat, r=r, base=base, head=(hy, head), kind=kind)
    _motorcycle_engine(b, steel, r=r, base=base, present=~scooter)
    b.sphere(lamp, light, at=(0, hy - torch.where(racer, 0.24, 0.16), head - torch.where(racer, 0.08, 0.05)),
             operation="paint")  # fmt: skip
    screen = b.plain(p.dark * 0.3 + p.glass * 0.7, 1.0)
    tall = b.uniform(0.13, 0.22)
    b.box((b.uniform(0.14, 0.22), 0.045, tall), screen, rotate=(-b.uniform(15, 40), 0, 0), grow=(-0.25, 0),
          at=(0, hy - 0.05, head + tall * 0.7), present=racer | (b.chance(0.35) & ~trail))  # fmt: skip


def _motorcycle_wheels(b: Builder, paint: Tensor, *, r: Tensor, tube: Tensor, base: Tensor, trail: Tensor) -> None:
    """Two tyres with spoked or disc rims and mudguards; the trail bike's front one stands off the tyre."""
    p = b.palette
    tyre, rim = b.plain(p.dark * 0.7), b.plain(b.pick(p.metal, p.light, p.accent, p.dark), 0.7)
    spoked = b.chance(0.6)
    b.torus(r - tube, tube, tyre, rotate=(0, 90, 0), at=(0, base, r), mirror="y")
    b.cylinder(r - tube, 0.045, rim, rotate=(0, 90, 0), at=(0, base, r), mirror="y", present=~spoked)
    b.box((r * 0.4, 0.04, 0.04), rim, rotate=(0, 90, 0), at=(0, base, r), radial=(b.integer(4, 6), r * 0.42),
          mirror="y", present=spoked)  # fmt: skip
    b.cylinder(0.08, 0.1, b.plain(p.metal, 0.8), rotate=(0, 90, 0), at=(0, base, r), mirror="y")
    guard = b.plain(b.pick(p.dark, p.metal), 0.7)
    skin = torch.where(b.chance(0.75)[:, None], paint, guard)
    b.torus(r + 0.01, tube * 0.8, skin, half_angle=b.uniform(0.7, 1.1), rotate=(90, 0, 90), at=(0, -base, r),
            present=~trail)  # fmt: skip
    b.torus(r + 0.01, tube * 0.9, skin, half_angle=b.uniform(0.8, 1.2), rotate=(90, 0, 90), at=(0, base, r))
    b.box((0.09, 0.26, 0.045), paint, rotate=(-10, 0, 0), at=(0, -base - 0.02, 2 * r + 0.1), present=trail)


def _motorcycle_body(
    b: Builder, paint: Tensor, seat: Tensor, *, r: Tensor, base: Tensor, head: tuple[Tensor, Tensor], kind: Tensor
) -> None:
    """Fuel tank, seat and tail, or the scooter's shield, floor and rear; fairing, cases and rear lamp."""
    p, (hy, hz) = b.palette, head
    racer, cruiser, scooter, trail = kind == 0, kind == 1, kind == 2, kind == 3
    ride, w = ~scooter, b.uniform(0.13, 0.19)
    sz = torch.where(cruiser, 2 * r - 0.03, 2 * r + 0.1)  # height of the seat
    b.limb((0, hy, hz - 0.06), (0, base * 0.75, sz - 0.1), 0.085, paint, present=ride)
    b.limb((0, hy, hz - 0.1), (0, -0.12, r * 0.85), 0.07, paint, present=ride)
    ty = hy + 0.3
    b.ellipsoid((w, b.uniform(0.24, 0.3), b.uniform(0.12, 0.17)), paint, rotate=(12, 0, 0), at=(0, ty, hz - 0.02),
                present=ride)  # fmt: skip
    length, up = b.uniform(0.2, 0.3), torch.where(racer, b.uniform(12, 22), b.uniform(-3, 6))
    b.box((w * 0.9, length, 0.07), seat, rounding=0.05, rotate=(up, 0, 0), at=(0, ty + 0.18 + length, sz + 0.03),
          present=ride)  # fmt: skip
    end = ty + 0.2 + 2 * length
    b.box((w * 0.7, 0.16, 0.07), paint, rounding=0.04, rotate=(up, 0, 0), grow=(0, -0.3),
          at=(0, end - 0.02, sz + torch.where(racer, 0.1, 0.0)), present=racer | trail)  # fmt: skip
    b.box((w, 0.06, 0.13), seat, rounding=0.05, at=(0, end - 0.03, sz + 0.14), present=cruiser & b.chance(0.5))
    b.box((w * 1.05, 0.3, (hz - r) * 0.5), paint, rounding=0.09, grow=(-0.1, -0.1), shear=(0, -0.12),
          at=(0, hy + 0.22, r * 0.65 + hz * 0.3), present=racer)  # fmt: skip
    b.ellipsoid((w * 1.05, 0.25, 0.16), paint, rotate=(12, 0, 0), at=(0, hy - 0.04, hz - 0.05), present=racer)
    floor = r * 0.95
    b.box((b.uniform(0.2, 0.27), 0.06, (hz - floor) * 0.46), paint, rounding=0.05, rotate=(18, 0, 0), grow=(-0.2, 0),
          at=(0, hy + 0.1, (hz + floor) * 0.5), present=scooter)  # fmt: skip
    b.box((0.19, base * 0.65, 0.06), paint, rounding=0.04, at=(0, 0, floor), present=scooter)
    bulk = b.uniform(0.24, 0.3)
    b.ellipsoid((w * 1.25, base * 0.58, bulk), paint, at=(0, base * 0.72, r + bulk * 0.7), present=scooter)
    top = r + bulk * 1.55
    b.box((w * 1.05, base * b.uniform(0.38, 0.5), 0.08), seat, rounding=0.05, at=(0, base * 0.62, top),
          present=scooter)  # fmt: skip
    rear, rz = torch.where(scooter, base * 1.22, end), torch.where(scooter, r + bulk * 0.9, sz)
    tail = b.plain(torch.tensor([0.8, 0.1, 0.1]).expand(b.count, 3), 0.8)
    b.sphere(0.075, tail, at=(0, rear, rz))
    case = b.plain(b.pick(p.dark, p.wood, p.metal, p.main))
    b.box((0.08, 0.2, 0.15), case, rounding=0.04, at=(w + 0.07, base * 0.85, 2 * r), mirror="x",
          present=ride & ~racer & b.chance(0.4))  # fmt: skip
    b.box((0.17, 0.14, 0.12), case, rounding=0.05, at=(0, rear - 0.02, torch.where(scooter, top, sz) + 0.14),
          present=~racer & ~cruiser & b.chance(0.4))  # fmt: skip


def _motorcycle_engine(b: Builder, steel: Tensor, *, r: Tensor, base: Tensor, present: Tensor) -> None:
    """Crankcase with one cylinder, a V of two or a boxer's two; swing arm and exhaust pipes."""
    p, kind = b.palette, b.integer(0, 2)
    finned = b.pattern(p.metal * 0.8, p.dark, axis=2, chance=0.7, kinds=(1,), period=(0.09, 0.13), gloss=0.7)
    z = r * 0.95
    b.box((0.14, 0.22, 0.16), b.plain(b.pick(p.metal, p.dark), 0.7), rounding=0.06, at=(0, 0, z), present=present)
    b.cylinder(0.12, 0.17, steel, rotate=(0, 90, 0), at=(0, 0.06, z), present=present)
    vee = torch.where(kind == 1, 0.18, 0.0)
    b.limb((0, -vee * 0.2, z), (0, -vee - 0.02, z + 0.32), 0.11, finned, flat=True, present=present & (kind < 2))
    b.limb((0, vee * 0.2, z), (0, vee, z + 0.32), 0.11, finned, flat=True, present=present & (kind == 1))
    b.cylinder(0.11, 0.3, finned, rotate=(0, 90, 0), at=(0, -0.04, z + 0.02), present=present & (kind == 2))
    b.limb((0.12, 0.05, z), (0.12, base, r), 0.055, steel, mirror="x", present=present)
    pipe, raised = b.plain(p.metal, 0.9), b.uniform(-0.08, 0.18)
    b.limb((0.12, -0.14, z + 0.05), (0.17, 0.02, r * 0.55), 0.05, pipe, mirror="x", present=present)
    b.limb((0.17, 0.0, r * 0.55), (0.19, base * b.uniform(0.9, 1.35), r * 0.75 + raised), 0.055, pipe, end_radius=0.08,
           mirror="x", present=present)  # fmt: skip


def spaceship(b: Builder) -> None:
    """Fighter with two or four wings, saucer with dome and legs, shuttle with delta wings, or a long cruiser."""
    p = b.palette
    color = b.pick(p.light, p.metal, p.main, p.second, p.dark * 1.6)
    hull = b.pattern(color, b.pick(p.accent, p.main, p.dark), axis=None, chance=0.35, kinds=(1, 3, 5, 2),
                     period=(0.25, 0.6), gloss=0.7)  # fmt: skip
    trim, glow = b.plain(b.pick(p.accent, p.main, p.second), 0.6), b.plain(b.draws.choose(_GLOWS), 1.0)
    glass = b.plain(b.pick(p.glass, p.dark * 0.5 + p.glass * 0.5, p.accent * 0.6), 1.0)
    kind = b.integer(0, 3)
    b.one_of(each_kind(kind, 1, 0, 1, 2), partial(_saucer, hull=hull, trim=trim, glass=glass, glow=glow),
             partial(_flyer, hull=hull, trim=trim, glass=glass, glow=glow, kind=kind),
             partial(_cruiser, hull=hull, trim=trim, glass=glass, glow=glow))  # fmt: skip


def _flyer(b: Builder, here: Tensor, hull: Tensor, trim: Tensor, glass: Tensor, glow: Tensor, kind: Tensor) -> None:
    """Fighter or shuttle: a body along y with a cockpit, wings and engines."""
    fighter, shuttle = kind == 0, kind == 2
    half = b.uniform(0.72, 1.0)
    r = torch.where(shuttle, b.uniform(0.24, 0.32), b.uniform(0.15, 0.23))
    nose = torch.where(shuttle, r * b.uniform(0.5, 0.75), b.uniform(0.05, 0.09))
    b.capsule(half * 0.55, r, hull, top=nose, rotate=(90, 0, 0), at=(0, -half * 0.35, 0), present=here)
    b.cylinder(r * 0.95, half * 0.4, hull, rounding=0.04, rotate=(90, 0, 0), at=(0, half * 0.45, 0), present=here)
    b.box((r * 0.85, half * 0.7, r * 0.35), trim, rounding=0.05, at=(0, half * 0.12, -r * 0.62), present=shuttle)
    b.ellipsoid((r * 0.62, half * b.uniform(0.2, 0.32), r * 0.75), glass, at=(0, -half * b.uniform(0.0, 0.3), r * 0.65),
                present=fighter)  # fmt: skip
    b.box((r * 0.75, 0.12, r * 0.4), glass, at=(0, -half * 0.72, r * 0.8), operation="paint", present=shuttle)
    _ship_wings(b, hull, trim, half=half, r=r, fighter=fighter, shuttle=shuttle)
    _ship_engines(b, trim, glow, half=half, r=r, many=shuttle, present=here)


def _saucer(b: Builder, here: Tensor, hull: Tensor, trim: Tensor, glass: Tensor, glow: Tensor) -> None:
    """Disc, thick or thin, with a dome, lamps around its rim, and legs or a lower drum."""
    r, h = b.uniform(0.75, 0.95), b.uniform(0.13, 0.26)
    flat, legs = b.chance(0.35), b.chance(0.55)
    b.ellipsoid((r, r, h), hull, present=here & ~flat)
    b.cylinder(r * 0.5, h * 0.45, hull, top=r, rounding=0.03, at=(0, 0, -h * 0.4), present=here & flat)
    b.cylinder(r, h * 0.45, hull, top=r * 0.4, rounding=0.03, at=(0, 0, h * 0.4), present=here & flat)
    b.torus(r * 0.96, b.uniform(0.05, 0.08), trim, present=here & b.chance(0.5))
    dome = r * b.uniform(0.36, 0.52)
    b.cylinder(dome * 1.15, 0.06, trim, at=(0, 0, h * 0.85), present=here & b.chance(0.6))
    b.ellipsoid((dome, dome, dome * b.uniform(0.7, 1.1)), glass, at=(0, 0, h * 0.8), present=here)
    b.sphere(b.uniform(0.07, 0.1), glow, at=(0, 0, h * 0.42), radial=(b.integer(6, 11), r * 0.74), present=here)
    b.cylinder(r * 0.3, 0.12, trim, top=r * 0.42, at=(0, 0, -h - 0.02), present=here)
    b.cylinder(r * 0.22, 0.3, glow, at=(0, 0, -h - 0.2), operation="paint", present=here)
    drop, out = b.uniform(0.16, 0.34), r * b.uniform(0.6, 0.8)
    x, y = out * 0.707, r * 0.3
    b.limb((y, y, -h * 0.5), (x, x, -h - drop), 0.055, trim, mirror="xy", present=here & legs)
    b.cylinder(0.1, 0.05, trim, at=(x, x, -h - drop), mirror="xy", present=here & legs)
    b.limb((0, 0, h), (0, 0, h + dome + b.uniform(0.15, 0.3)), 0.045, trim, present=here & b.chance(0.35))


def _ship_wings(
    b: Builder, hull: Tensor, trim: Tensor, *, half: Tensor, r: Tensor, fighter: Tensor, shuttle: Tensor
) -> None:
    """Wings swept back or forward, single or an X of four with guns at the tips; fins."""
    span, four = b.uniform(0.5, 0.85), b.chance(0.4) & fighter
    sweep = torch.where(shuttle, b.uniform(0.25, 0.4), b.uniform(-0.25, 0.5))
    chord, rise = half * b.uniform(0.26, 0.36), torch.where(four, b.uniform(12, 24), b.uniform(-14, 10))
    taper = torch.where(shuttle, b.uniform(-0.75, -0.6), b.uniform(-0.6, -0.2))
    skin = torch.where(b.chance(0.5)[:, None], hull, trim)
    y, a = half * b.uniform(0.2, 0.35), rise.deg2rad()
    for sign, present in ((1, fighter | shuttle), (-1, four)):
        b.box((0.05, chord, span / 2), skin, rounding=0.03, grow=(0, taper), shear=(0, sweep / 2),
              rotate=(0, 90 - sign * rise, 0), at=(span / 2 * a.cos(), y + sweep * 0.4, sign * span / 2 * a.sin()),
              mirror="x", present=present)  # fmt: skip
        tip = (span * a.cos(), y + sweep * 0.9, sign * span * a.sin())
        ahead = b.uniform(0.3, 0.6)
        b.limb((tip[0], tip[1] + 0.15, tip[2]), (tip[0], tip[1] - ahead, tip[2]), 0.06, trim, flat=True, mirror="x",
               present=present & fighter)  # fmt: skip
    tall, twin = b.uniform(0.14, 0.24), b.chance(0.4)
    x = torch.where(twin, r * 0.7, 0.0)
    b.box((0.05, 0.17, tall), skin, rounding=0.03, grow=(0, -0.4), shear=(0, 0.1), at=(x, half * 0.62, r * 0.6 + tall),
          mirror="x", present=shuttle | (fighter & ~four & b.chance(0.5)))  # fmt: skip


def _ship_engines(
    b: Builder, trim: Tensor, glow: Tensor, *, half: Tensor, r: Tensor, many: Tensor, present: Tensor
) -> None:
    """Nozzles behind: one and two beside it, on the hull or on the wings; they glow inside."""
    y, side = half * 0.9, b.chance(0.6) | many
    size = torch.where(side, r * 0.5, r * 0.75)
    b.cylinder(size * 1.25, 0.1, trim, top=size, rotate=(90, 0, 0), at=(0, y, 0), present=present)
    b.cylinder(size * 0.9, 0.1, glow, rotate=(90, 0, 0), at=(0, y + 0.12, 0), operation="paint", present=present)
    out, pod = r * b.uniform(0.95, 1.5), b.uniform(0.085, 0.13)
    long = half * b.uniform(0.2, 0.4)
    b.capsule(long, pod, trim, rotate=(90, 0, 0), at=(out, y - long * 0.9, 0.02), mirror="x", present=present & side)
    b.cylinder(pod * 1.05, 0.08, trim, rotate=(90, 0, 0), at=(out, y + 0.08, 0.02), mirror="x", present=present & side)
    b.cylinder(pod * 0.85, 0.1, glow, rotate=(90, 0, 0), at=(out, y + 0.18, 0.02), mirror="x", operation="paint",
               present=present & side)  # fmt: skip


def _cruiser(b: Builder, here: Tensor, hull: Tensor, trim: Tensor, glass: Tensor, glow: Tensor) -> None:
    """Wedge with a bridge tower, or modules on a spine with nacelles and perhaps a ring."""
    half, wedge = b.uniform(0.72, 1.0), b.chance(0.5)
    w, h = b.uniform(0.4, 0.62), b.uniform(0.1, 0.16)
    b.box((w / 2, h, half), hull, rounding=0.03, grow=(-0.92, -0.5), rotate=(90, 0, 0), at=(0, 0, 0),
          present=here & wedge)  # fmt: skip
    b.box((w * 0.3, h * 0.9, half * 0.6), trim, rounding=0.02, grow=(-0.7, -0.5), rotate=(90, 0, 0),
          at=(0, half * 0.3, h * 0.7), present=here & wedge)  # fmt: skip
    b.box((0.1, 0.1, 0.16), hull, grow=(-0.1, -0.2), at=(0, half * 0.65, h + 0.2), present=here & wedge)
    b.box((b.uniform(0.18, 0.3), 0.09, 0.07), hull, at=(0, half * 0.65, h + 0.38), present=here & wedge)
    b.box((0.3, 0.2, 0.035), glass, at=(0, half * 0.55, h + 0.39), operation="paint", present=here & wedge)
    built, r = here & ~wedge, b.uniform(0.18, 0.26)
    b.cylinder(0.1, half * 0.9, trim, rotate=(90, 0, 0), present=built)
    b.ellipsoid((r * b.uniform(1.0, 1.6), r * 1.2, r), hull, at=(0, -half * 0.78, 0), present=built)
    b.box((r * 1.2, 0.16, r * 0.22), glass, at=(0, -half * 0.95, r * 0.25), operation="paint", present=built)
    n = b.integer(2, 3)
    b.box((r * 0.95, r * 0.9, half * 0.13), hull, rounding=0.05, rotate=(90, 0, 0), at=(0, half * 0.1, 0),
          array=(2, half * 0.36, n), present=built)  # fmt: skip
    out, long = b.uniform(0.36, 0.55), half * b.uniform(0.35, 0.5)
    b.box((out, 0.1, 0.05), trim, at=(0, half * 0.5, 0), present=built)
    b.capsule(long, 0.12, hull, rotate=(90, 0, 0), at=(out, half * 0.5, 0), mirror="x", present=built)
    b.sphere(0.14, glow, at=(out, half * 0.5 - long, 0), mirror="x", operation="paint", present=built)
    ring = b.chance(0.4)
    b.torus(out, 0.075, trim, rotate=(90, 0, 0), at=(0, half * 0.1, 0), present=built & ring)
    b.box((0.05, out, 0.055), trim, at=(0, half * 0.1, 0), present=built & ring)
    x = torch.where(wedge, w * 0.45, out)
    b.cylinder(0.1, 0.09, trim, top=0.085, rotate=(90, 0, 0), at=(0, half, 0), present=here)
    b.cylinder(0.1, 0.09, trim, rotate=(90, 0, 0), at=(x, torch.where(wedge, half, half * 0.5 + long + 0.08), 0),
               mirror="x", present=here)  # fmt: skip


def fan(b: Builder) -> None:
    """Pedestal or desk fan with a round cage or bare blades, ceiling fan with a lamp, or a box fan."""
    p = b.palette
    body = b.plain(b.pick(p.light, p.main, p.dark, p.metal, p.second), 0.5)
    wire = b.plain(b.pick(p.metal, p.light, p.dark), 0.7)
    blade = b.pattern(b.pick(p.accent, p.main, p.wood, p.second, p.glass), p.light, axis=0, chance=0.3, kinds=(1, 3),
                      period=(0.3, 0.5), gloss=0.5)  # fmt: skip
    kind = b.integer(0, 3)
    pedestal, desk, ceiling, boxed = kind == 0, kind == 1, kind == 2, kind == 3
    stand = pedestal | desk
    r = torch.where(pedestal, b.uniform(0.38, 0.5), b.uniform(0.52, 0.68))
    tall = torch.where(pedestal, b.uniform(1.0, 1.35), torch.where(desk, r + b.uniform(0.1, 0.3), 0.0))
    flat = ceiling[:, None, None]
    turned = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]).expand(b.count, 3, 3)
    frame = torch.where(flat, torch.eye(3), turned)  # the axis of the blades: up, or to the front
    reach, n = torch.where(ceiling, b.uniform(0.8, 1.0), r * 0.92), b.integer(3, 5)
    wide, pitch = b.uniform(0.26, 0.36), b.uniform(0.0, 0.06)
    round_blade = b.chance(0.5)
    half = reach * 0.42
    broad = torch.where(ceiling, b.uniform(0.09, 0.14), reach * wide)
    b.box((half, broad, 0.04), blade, rounding=0.03, shear=(0, pitch), frame=frame, at=(0, 0, tall),
          radial=(n, reach - half), present=~round_blade)  # fmt: skip
    b.ellipsoid((half * 1.06, broad * 1.1, 0.06), blade, frame=frame, at=(0, 0, tall), radial=(n, reach - half),
                present=round_blade)  # fmt: skip
    hub = torch.where(ceiling, b.uniform(0.15, 0.24), r * b.uniform(0.16, 0.26))
    b.cylinder(hub, torch.where(ceiling, 0.11, 0.09), body, rounding=0.04, frame=frame, at=(0, 0, tall))
    caged = stand & (b.chance(0.8) | ~round_blade)
    _fan_cage(b, wire, body, r=r, z=tall, caged=caged, boxed=boxed)
    motor = b.uniform(0.12, 0.2)
    b.capsule(0.1, motor, body, top=motor * 0.85, rotate=(90, 0, 0), at=(0, 0.2, tall), present=stand)
    foot = tall - torch.where(pedestal, b.uniform(1.0, 1.2) + r * 0.4, r + b.uniform(0.12, 0.3))
    b.limb((0, 0.2, tall), (0, 0.14, foot), b.uniform(0.055, 0.085), wire, present=stand)
    b.limb((0, 0.16, (tall + foot) * 0.5), (0, 0.14, foot), 0.09, body, present=stand)
    cross, base = b.chance(0.3), b.uniform(0.3, 0.46)
    b.cylinder(base, 0.06, body, top=base * b.uniform(0.6, 0.95), at=(0, 0.1, foot), present=stand & ~cross)
    b.box((base * 1.1, 0.07, 0.05), body, rotate=(0, 0, 45), at=(0, 0.14, foot), present=stand & cross)
    b.box((0.07, base * 1.1, 0.05), body, rotate=(0, 0, 45), at=(0, 0.14, foot), present=stand & cross)
    b.box((0.09, 0.07, 0.12), b.plain(p.accent), rounding=0.03, at=(0, 0.05, foot + 0.12), present=desk)
    rod = b.uniform(0.25, 0.6)
    b.cylinder(0.06, rod / 2, wire, at=(0, 0, rod / 2), present=ceiling)
    b.cylinder(0.16, 0.07, body, top=0.13, at=(0, 0, rod), present=ceiling)
    lamp, glow, globe = b.chance(0.7), b.plain(torch.tensor([1.0, 0.95, 0.78]).expand(b.count, 3), 0.9), b.chance(0.5)
    b.ellipsoid((0.2, 0.2, b.uniform(0.12, 0.2)), glow, at=(0, 0, -0.15), present=ceiling & lamp & globe)
    b.cylinder(0.08, 0.11, glow, top=0.06, at=(0, 0, -0.16), radial=(3, 0.17), present=ceiling & lamp & ~globe)


def _fan_cage(b: Builder, wire: Tensor, body: Tensor, *, r: Tensor, z: Tensor, caged: Tensor, boxed: Tensor) -> None:
    """A rim and spokes before the blades, or a square housing with feet, a handle and a grille."""
    p = b.palette
    depth, tube, spokes = b.uniform(0.1, 0.13), b.uniform(0.06, 0.085), b.integer(5, 9)
    rings, bars = b.chance(0.35), b.chance(0.4)
    b.torus(r, tube, wire, rotate=(90, 0, 0), at=(0, 0, z), present=caged)
    front = caged | (boxed & ~bars)
    b.box((r * 0.5, 0.03, 0.03), wire, rotate=(90, 0, 0), at=(0, -depth, z), radial=(spokes, r * 0.5), present=caged)
    b.limb((0, 0.1, z), (0, -depth - 0.04, z), r * b.uniform(0.16, 0.26), wire, flat=True, present=front)
    b.torus(r * 0.6, 0.035, wire, rotate=(90, 0, 0), at=(0, -depth, z), present=front & rings)
    b.torus(r - 0.01, 0.05, wire, rotate=(90, 0, 0), at=(0, -depth * 0.6, z), present=caged)
    b.sphere(r * 0.15, b.plain(p.accent, 0.6), at=(0, -depth - 0.06, z), operation="paint",
             present=front & b.chance(0.5))  # fmt: skip
    w, deep, edge = r + 0.1, depth + 0.05, b.uniform(0.05, 0.08)
    for sign in (-1, 1):
        b.box((w, deep, edge), body, at=(0, 0, z + sign * w), present=boxed)
    b.box((edge, deep, w), body, at=(w, 0, z), mirror="x", present=boxed)
    cut = b.chance(0.5)
    for sign in (-1, 1):
        b.box((w * 0.2, deep * 0.9, w * 0.2), body, rotate=(0, 45, 0), at=(w * 0.88, 0, z + sign * w * 0.88),
              mirror="x", present=boxed & cut)  # fmt: skip
    b.box((w * 0.65, 0.035, 0.035), wire, rotate=(90, 0, 0), at=(0, -depth, z), radial=(4, w * 0.4),
          present=boxed & ~bars)  # fmt: skip
    b.box((w, 0.035, 0.035), wire, at=(0, -depth, z), array=(2, w * 0.4, 5), present=boxed & bars)
    b.box((w, 0.04, 0.07), body, at=(0, depth, z), present=boxed)
    b.limb((0, depth, z), (0, 0, z), r * 0.15, body, flat=True, present=boxed)
    b.box((0.07, deep + 0.12, 0.06), body, at=(w * 0.7, 0, z - w - 0.06), mirror="x", present=boxed)
    b.box((0.2, 0.06, 0.06), wire, at=(0, 0, z + w + 0.12), present=boxed)
    b.box((0.05, 0.06, 0.08), wire, at=(0.17, 0, z + w + 0.06), mirror="x", present=boxed)
