"""Containers: barrel."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def barrel(b: Builder) -> None:
    """Barrel standing, open or lying with a tap, crate, bucket with a handle, pot, urn or vase."""
    style = b.integer(0, 3)
    b.one_of(style, _cask, _crate, _bucket, _urn)


def _cask(b: Builder, here: Tensor) -> None:
    """A bulging barrel with hoops: on end, shut or full to the rim, or on a cradle with its head to the front."""
    p = b.palette
    wood = b.pattern(b.pick(p.wood, p.wood, p.main, p.second, p.metal), p.wood * 0.65, axis=0, chance=0.6, kinds=(1,),
                     period=(0.16, 0.3))  # fmt: skip
    hoop = b.plain(b.pick(p.metal, p.dark, p.accent, p.light), 0.8)
    big, half, lying = b.uniform(0.5, 0.66), b.uniform(0.55, 0.85), b.chance(0.45)
    end, turn = big * b.uniform(0.72, 0.86), torch.where(lying, 90.0, 0.0)

    def along(up: float | Tensor) -> tuple[float, Tensor, Tensor]:
        return 0.0, torch.where(lying, -1.0, 0.0) * up, torch.where(lying, 0.0, 1.0) * up

    middle = half * b.uniform(0.2, 0.35)
    taper = (half - middle) / 2
    b.cylinder(big, middle + 0.01, wood, rounding=0.0, rotate=(turn, 0, 0), present=here)
    b.cylinder(big, taper, wood, top=end, rotate=(turn, 0, 0), at=along(middle + taper), present=here)
    b.cylinder(end, taper, wood, top=big, rotate=(turn, 0, 0), at=along(-middle - taper), present=here)
    head, full = b.plain(b.pick(p.wood * 0.7, p.wood, p.light)), b.chance(0.35) & ~lying
    depth = b.uniform(0.06, 0.16)
    b.cylinder(end - 0.1, depth, head, rounding=0.0, rotate=(turn, 0, 0), at=along(half), operation="subtract",
               present=here)  # fmt: skip
    spread, edge = b.uniform(0.5, 0.7), b.chance(0.7)
    level = middle + (half - middle) * spread
    size = big - (big - end) * spread + 0.04
    b.cylinder(size, 0.07, hoop, rotate=(turn, 0, 0), at=along(level), present=here)
    b.cylinder(size, 0.07, hoop, rotate=(turn, 0, 0), at=along(-level), present=here)
    b.cylinder(big + 0.025, 0.06, hoop, rotate=(turn, 0, 0), array=(2, middle * 1.6, 2), present=here & b.chance(0.6))
    b.torus(end - 0.01, 0.06, hoop, rotate=(turn, 0, 0), at=along(half - 0.05), present=here & edge)
    b.torus(end - 0.01, 0.06, hoop, rotate=(turn, 0, 0), at=along(0.05 - half), present=here & edge)
    b.cylinder(end - 0.06, depth, b.plain(b.pick(p.glass, p.leaf, p.accent, p.dark), 0.9), at=along(half - depth),
               present=here & full)  # fmt: skip
    b.sphere(0.13, b.plain(b.pick(p.accent, p.leaf), 0.7), at=along(half - 0.02), radial=(b.integer(3, 6), end * 0.5),
             present=here & full & b.chance(0.5))  # fmt: skip
    tap = here & lying & b.chance(0.7)
    b.limb((0, -half + 0.15, -end * 0.6), (0, -half - 0.16, -end * 0.6), 0.07, hoop, present=tap)
    b.limb((0, -half - 0.1, -end * 0.6 - 0.08), (0, -half - 0.1, -end * 0.6 + 0.12), 0.06, hoop, present=tap)
    b.box((big * 0.85, 0.1, 0.16), b.plain(b.pick(p.wood, p.dark, p.metal)), rounding=0.01, at=(0, half * 0.6, -big),
          mirror="y", present=here & lying & b.chance(0.8))  # fmt: skip
    b.cylinder(0.09, 0.06, head, at=(0, 0, big + 0.02), present=here & lying)


def _crate(b: Builder, here: Tensor) -> None:
    """A box of slats with a frame and braces, shut or open and full."""
    p = b.palette
    color = b.pick(p.wood, p.wood, p.main, p.second, p.metal)
    slats = b.pattern(color, color * 0.65, axis=2, chance=0.7, kinds=(1,), period=(0.16, 0.3))
    frame = b.plain(b.pick(color * 0.75, color * 0.75, p.dark, p.metal, p.light))
    w, d, h = b.uniform(0.55, 0.9), b.uniform(0.5, 0.75), b.uniform(0.4, 0.75)
    t, out, is_open = b.uniform(0.07, 0.11), 0.04, b.chance(0.4)
    b.box((w, d, h), slats, rounding=0.01, present=here)
    b.box((w - 0.1, d - 0.1, h), b.plain(color * 0.5), at=(0, 0, h * 1.5), operation="subtract", present=here & is_open)
    braced = here & b.chance(0.6)
    slope, length = torch.atan2(h, w), torch.sqrt(h * h + w * w) - t
    angle, both = torch.rad2deg(slope), b.chance(0.4)
    b.box((length, out, t * 0.8), frame, rounding=0.01, rotate=(0, -angle, 0), at=(0, d, 0), mirror="y",
          present=braced)  # fmt: skip
    b.box((length, out, t * 0.8), frame, rounding=0.01, rotate=(0, angle, 0), at=(0, d, 0), mirror="y",
          present=braced & both)  # fmt: skip
    b.box((t, out, h), frame, rounding=0.01, at=(0, d, 0), mirror="y", present=here & ~braced & b.chance(0.4))
    x, y, z = w + out - t, d + out - t, h + out - t
    b.box((t, t, h + out), frame, rounding=0.01, at=(x, y, 0), mirror="xy", present=here)
    rails, lid = (2, 2 * z, 2.0), b.chance(0.3) & ~is_open
    b.box((w, t, t), frame, rounding=0.01, at=(0, y, 0), mirror="y", array=rails, present=here)
    b.box((t, d, t), frame, rounding=0.01, at=(x, 0, 0), mirror="x", array=rails, present=here)
    b.box((w + 0.1, d + 0.1, 0.07), slats, rounding=0.01, at=(0, 0, h + 0.06), present=here & lid)
    mark = b.plain(b.pick(p.accent, p.dark, p.light))
    b.box((0.2, 0.2, 0.14), mark, at=(0, -d, 0), operation="paint", present=here & ~braced & b.chance(0.6))
    fruit = b.plain(b.pick(p.accent, p.leaf, p.main, p.second), 0.6)
    full = here & is_open & b.chance(0.75)
    b.box((w - 0.08, d - 0.08, h * 0.15), fruit, at=(0, 0, h * 0.66), present=full)
    size, n = b.uniform(0.13, 0.18), b.integer(3, 4)
    b.sphere(size, fruit, at=(0, d * 0.4, h * 0.85), mirror="y", array=(0, (w - 0.1) * 1.7 / n, n), present=full)
    b.sphere(size, fruit, at=(w * 0.1, 0, h * 0.95), array=(0, (w - 0.1) * 1.5 / n, n), present=full)


def _bucket(b: Builder, here: Tensor) -> None:
    """A pail wider at the top, empty or full, with bands and a handle up or hanging down."""
    p = b.palette
    body = b.pattern(b.pick(p.main, p.accent, p.metal, p.wood, p.second), b.pick(p.light, p.wood), axis=2, chance=0.35,
                     kinds=(1, 3), period=(0.3, 0.6), gloss=0.5)  # fmt: skip
    trim = b.plain(b.pick(p.metal, p.dark, p.light, p.accent), 0.7)
    r, h = b.uniform(0.5, 0.7), b.uniform(0.42, 0.7)
    low, wall = r * b.uniform(0.6, 0.88), b.uniform(0.075, 0.1)
    b.cylinder(low, h, body, top=r, present=here)
    n = b.integer(0, 2)
    for index, level in enumerate((-0.7, 0.45)):
        size = (low + r) / 2 + (r - low) / 2 * level + 0.035
        b.cylinder(size, 0.055, trim, at=(0, 0, h * level), present=here & (n > index))
    b.torus(r, b.uniform(0.06, 0.075), trim, at=(0, 0, h - 0.03), present=here & b.chance(0.75))
    b.cylinder(low - wall, h, b.plain(b.pick(p.light, p.metal, p.dark)), top=r - wall, at=(0, 0, wall * 1.5),
               operation="subtract", present=here)  # fmt: skip
    blue = torch.tensor([0.36, 0.62, 0.82]).expand(b.count, 3)
    surface, filled = h * b.uniform(0.1, 0.75), b.chance(0.7)
    b.cylinder(low - 0.04, (surface + h) / 2, b.plain(b.pick(blue, p.wood, p.light, p.leaf), 0.7),
               top=low - 0.04 + (r - low) * (surface + h) / (2 * h), at=(0, 0, (surface - h) / 2 + 0.02),
               present=here & filled)  # fmt: skip
    b.ellipsoid((r * 0.7, r * 0.7, 0.25), b.plain(b.pick(p.wood, p.light, p.accent)), at=(0, 0, surface),
                present=here & filled & b.chance(0.35))  # fmt: skip
    tilt, knob = torch.where(b.chance(0.6), b.uniform(60, 100), b.uniform(170, 178)), b.chance(0.5)
    b.torus(r + 0.02, 0.06, trim, half_angle=1.57, rotate=(tilt, 0, 0), at=(0, 0, h - 0.1), present=here)
    b.sphere(0.1, trim, at=(r, 0, h - 0.1), mirror="x", present=here)
    y, z = tilt.deg2rad().cos() * (r + 0.02), tilt.deg2rad().sin() * (r + 0.02)
    b.cylinder(0.095, 0.17, b.plain(b.pick(p.wood, p.accent)), rotate=(0, 90, 0), at=(0, y, h - 0.1 + z),
               present=here & knob)  # fmt: skip


def _urn(b: Builder, here: Tensor) -> None:
    """A foot, a belly high or low, a neck and a lip, with or without two handles, painted bands, a lid."""
    p = b.palette
    clay = torch.tensor([0.76, 0.42, 0.27]).expand(b.count, 3)
    color = b.pick(clay, p.main, p.second, p.light, p.dark, p.accent)
    body = b.pattern(color, b.pick(p.light, p.dark, p.accent), axis=2, chance=0.5, gloss=0.6)
    trim = b.plain(b.pick(color, color, p.accent, p.dark, p.light), 0.6)
    r, tall = b.uniform(0.42, 0.68), b.uniform(0.4, 0.7)
    foot, neck = r * b.uniform(0.4, 0.7), r * b.uniform(0.35, 0.65)
    b.ellipsoid((r, r, tall), body, present=here)
    low = tall * b.uniform(0.0, 0.2)
    b.cylinder(foot, (tall - low) / 2, body, top=r * 0.93, rounding=0.03, at=(0, 0, -(tall + low) / 2),
               blend=0.1, present=here)  # fmt: skip
    b.cylinder(foot * 1.15, 0.065, trim, at=(0, 0, -tall), present=here)
    long = b.uniform(0.06, 0.3)
    top = tall * 0.85 + 2 * long
    lip = neck * b.uniform(1.0, 1.35)
    b.cylinder(neck, long + 0.05, body, top=lip, at=(0, 0, top - long), blend=0.06, present=here)
    b.torus(lip, 0.075, trim, at=(0, 0, top), present=here)
    lidded = here & b.chance(0.25)
    b.cylinder(lip - 0.05, long + 0.15, b.plain(p.dark * 0.6), at=(0, 0, top + 0.1), operation="subtract",
               present=here & ~lidded)  # fmt: skip
    b.ellipsoid((lip, lip, 0.16), trim, at=(0, 0, top), present=lidded)
    b.sphere(0.09, trim, at=(0, 0, top + 0.19), present=lidded)
    band, high = b.plain(b.pick(p.accent, p.dark, p.light, p.second), 0.6), b.uniform(0.06, 0.14)
    b.box((2, 2, high), band, at=(0, 0, tall * b.uniform(-0.2, 0.4)), operation="paint", present=here & b.chance(0.5))
    handles, ring = here & b.chance(0.5), (top - tall * 0.3) * b.uniform(0.36, 0.46)
    level = (top + tall * 0.3) / 2
    b.torus(ring, 0.065, trim, half_angle=1.9, rotate=(0, -90, -90), at=((neck + r) / 2, 0, level - 0.04),
            mirror="x", present=handles)  # fmt: skip
