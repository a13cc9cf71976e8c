"""Weapons: tank, cannon, blaster."""

from functools import partial

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder

_DRABS = torch.tensor(
    [[0.36, 0.40, 0.22], [0.28, 0.34, 0.24], [0.72, 0.62, 0.42], [0.46, 0.48, 0.48], [0.55, 0.47, 0.30]]
)


def tank(b: Builder) -> None:
    """Turret flat, round or domed on a sloped hull, or an old rhomboid with side guns; skirts, camouflage, drums."""
    p = b.palette
    drab = b.draws.choose(_DRABS)
    color = b.pick(drab, drab, p.main, p.leaf)
    paint = b.pattern(color, b.pick(color * 0.6, p.wood * 0.8, p.light), axis=None, chance=0.45, kinds=(2, 5, 1),
                      period=(0.3, 0.6))  # fmt: skip
    old = b.chance(0.22)
    w, half = b.uniform(0.42, 0.58), b.uniform(0.72, 0.95)
    tw, th = b.uniform(0.11, 0.16), torch.where(old, b.uniform(0.3, 0.4), b.uniform(0.14, 0.21))
    tread = b.pattern(p.dark * 0.8, b.pick(p.metal * 0.6, p.dark * 1.7), axis=1, chance=0.8, kinds=(1,),
                      period=(0.13, 0.2))  # fmt: skip
    slope = torch.where(old, b.uniform(0.25, 0.45), b.uniform(0.05, 0.25))
    long = half / (1 + slope)
    b.box((tw, long, th), tread, rounding=0.07, grow=(0, slope), shear=(0, torch.where(old, -0.1, 0.0)),
          at=(w - tw, 0, th), mirror="x")  # fmt: skip
    b.box((tw, long * 0.8, th * 0.66), paint, rounding=0.03, grow=(0, slope), at=(w - tw + 0.05, 0, th), mirror="x",
          present=old)  # fmt: skip
    n = b.integer(3, 6)
    pitch = long * 1.75 / n
    wheel = torch.minimum(th * b.uniform(0.6, 0.8), pitch * 0.46)
    hub = b.plain(b.pick(color * 0.7, p.metal * 0.7, color), 0.4)
    b.cylinder(wheel, 0.06, hub, rotate=(0, 90, 0), at=(w, 0, th * 0.85), array=(1, pitch, n), mirror="x",
               present=~old)  # fmt: skip
    b.cylinder(wheel * 0.4, 0.3, b.plain(p.dark), rotate=(0, 90, 0), at=(w, 0, th * 0.85), array=(1, pitch, n),
               mirror="x", operation="paint", present=~old)  # fmt: skip
    up = torch.where(old, b.uniform(0.1, 0.16), b.uniform(0.09, 0.17))
    b.box((w - tw * 1.5, half * 0.85, th * 0.75), paint, grow=(0, 0.1), at=(0, 0, th * 1.2))
    deep = torch.where(old, 0.3, b.uniform(0.74, 0.9))
    b.box((torch.where(old, w - tw * 2, w * b.uniform(0.86, 0.97)), half * deep, up), paint, rounding=0.03,
          grow=(b.uniform(-0.1, -0.02), b.uniform(-0.18, -0.04)), shear=(0, b.uniform(0.0, 0.08)),
          at=(0, 0, 2 * th + up * 0.8))  # fmt: skip
    b.box((0.05, half * 0.88, th * b.uniform(0.3, 0.55)), paint, at=(w + 0.03, 0, th * 1.7), mirror="x",
          present=~old & b.chance(0.35))  # fmt: skip
    gun = b.plain(b.pick(color * 0.8, p.dark, p.metal * 0.7), 0.4)
    side = (w + 0.05, -half * b.uniform(0.0, 0.25), th * 1.15)
    b.box((0.15, 0.2, th * 0.45), paint, rounding=0.05, at=side, mirror="x", present=old)
    b.limb(side, (side[0] + 0.06, side[1] - b.uniform(0.4, 0.6), side[2]), 0.06, gun, flat=True, mirror="x",
           present=old)  # fmt: skip
    b.cylinder(0.11, 0.11, b.plain(p.dark), rotate=(90, 0, 0), at=(0, half * 0.85, 2 * th), present=old & b.chance(0.5))
    b.cylinder(0.085, w * 0.7, b.plain(b.pick(color, p.metal, p.wood)), rotate=(0, 90, 0),
               at=(0, half * deep - 0.03, 2 * th + up * 1.4), present=~old & b.chance(0.3))  # fmt: skip
    lamp = b.plain(torch.tensor([1.0, 0.95, 0.7]).expand(b.count, 3), 0.8)
    b.sphere(0.07, lamp, at=(w * 0.75, -half * 0.82, 2 * th + 0.04), mirror="x", present=~old & b.chance(0.4))
    _tank_turret(b, paint, gun, size=(w, half), z=2 * th + up * 1.75, present=~old)


def _tank_turret(
    b: Builder, paint: Tensor, gun: Tensor, *, size: tuple[Tensor, Tensor], z: Tensor, present: Tensor
) -> None:
    """Turret at height z with gun, mantlet, hatch, box behind and an emblem."""
    p, (w, half) = b.palette, size
    kind, r, h, y = b.integer(0, 2), w * b.uniform(0.6, 0.82), b.uniform(0.12, 0.22), half * b.uniform(-0.2, 0.15)
    b.box((r, r * b.uniform(1.0, 1.35), h), paint, rounding=0.04, grow=(b.uniform(-0.3, -0.05), b.uniform(-0.3, -0.05)),
          shear=(0, b.uniform(0.0, 0.12)), at=(0, y, z + h), present=present & (kind == 0))  # fmt: skip
    b.cylinder(r, h, paint, top=r * b.uniform(0.7, 0.95), rounding=0.04, at=(0, y, z + h),
               present=present & (kind == 1))  # fmt: skip
    b.ellipsoid((r, r * 1.15, h * 1.9), paint, at=(0, y, z), present=present & (kind == 2))
    gz, gr = z + h * torch.where(kind == 2, 0.85, 1.0), b.uniform(0.06, 0.085)
    reach, rise = half * b.uniform(0.75, 1.35), b.uniform(-0.01, 0.16)
    muzzle = (0.0, y - r * 0.8 - reach, gz + rise)
    b.box((r * 0.42, 0.1, h * 0.62), gun, rounding=0.04, at=(0, y - r * 0.95, gz), present=present)
    b.limb((0, y - r * 0.5, gz), muzzle, gr, gun, end_radius=gr * 0.85, flat=True, present=present)
    brake = b.chance(0.45)
    b.limb((0, muzzle[1] + 0.14, muzzle[2] - 0.01), muzzle, gr * 1.5, gun, flat=True, present=present & brake)
    b.cylinder(gr * 1.4, 0.11, gun, rotate=(90, 0, 0), at=(0, y - r * 0.8 - reach * 0.5, gz + rise * 0.5),
               present=present & ~brake & b.chance(0.5))  # fmt: skip
    hx, top = r * b.uniform(0.25, 0.45), z + 2 * h
    b.cylinder(b.uniform(0.1, 0.14), 0.06, b.plain(p.dark), at=(hx, y + r * 0.25, top - 0.02), present=present)
    b.limb((-hx, y + r * 0.4, z + h), (-hx, y + r * 0.5, top + b.uniform(0.25, 0.5)), 0.045, b.plain(p.dark),
           present=present & b.chance(0.3))  # fmt: skip
    b.limb((hx, y + 0.1, top + 0.1), (hx, y - 0.3, top + 0.13), 0.05, gun, present=present & b.chance(0.3))
    b.box((r * 0.75, 0.12, h * 0.6), b.plain(b.pick(p.wood, p.dark, p.metal * 0.7)), at=(0, y + r * 1.1, z + h),
          present=present & b.chance(0.4))  # fmt: skip
    b.sphere(h * 0.6, b.plain(b.pick(p.light, p.accent)), at=(r * 0.95, y + r * 0.1, z + h), mirror="x",
             operation="paint", present=present & b.chance(0.5))  # fmt: skip


def cannon(b: Builder) -> None:
    """Field gun on spoked wheels, ship's gun on a stepped carriage, howitzer with shield, or a squat mortar."""
    p = b.palette
    metal = b.plain(b.pick(p.dark, p.metal, p.metal * 0.6, p.dark * 1.6), 0.6)
    kind = b.integer(0, 3)
    field, ship, modern, mortar = kind == 0, kind == 1, kind == 2, kind == 3
    drab = b.draws.choose(_DRABS)
    timber = b.pattern(b.pick(p.wood, p.wood * 0.7, p.main, p.accent), p.dark, axis=1, chance=0.25, kinds=(1, 3))
    frame = torch.where(modern[:, None], b.plain(b.pick(drab, drab, p.main, p.metal * 0.7)), timber)
    barrel = torch.where((modern & b.chance(0.6))[:, None], frame, metal)
    r = torch.where(mortar, b.uniform(0.24, 0.33), torch.where(modern, b.uniform(0.085, 0.12), b.uniform(0.13, 0.2)))
    length = torch.where(mortar, b.uniform(0.55, 0.8), b.uniform(1.0, 1.45))
    rise = torch.where(mortar, b.uniform(35, 60), torch.where(ship, b.uniform(0, 12), b.uniform(4, 26)))
    wheel = torch.where(field, b.uniform(0.34, 0.5), torch.where(modern, b.uniform(0.24, 0.34), b.uniform(0.12, 0.18)))
    z = torch.where(mortar, wheel + 0.32, torch.where(ship, wheel * 2 + b.uniform(0.28, 0.4), wheel + r + 0.08))
    ahead = torch.where(mortar, 0.6, b.uniform(0.56, 0.68)) * length  # from the trunnions to the muzzle
    _cannon_barrel(b, barrel, r=r, length=length, ahead=ahead, rise=rise, z=z, modern=modern)
    trunnion = torch.where(mortar | ship, r + 0.12, r + 0.16)
    b.cylinder(torch.where(mortar, 0.1, 0.07), trunnion, metal, rotate=(0, 90, 0), at=(0, 0, z))
    track = r + torch.where(field, b.uniform(0.2, 0.28), b.uniform(0.22, 0.34))
    two = field | modern
    _cannon_wheels(b, r=wheel, track=track, field=field, present=two)
    b.cylinder(0.075, track, metal, rotate=(0, 90, 0), at=(0, 0, wheel), present=two)
    b.box((0.06, 0.17, z - wheel), frame, grow=(0, -0.35), rounding=0.03, at=(r + 0.05, 0.03, (z + wheel) * 0.5),
          mirror="x", present=two)  # fmt: skip
    spread, tail, thick = torch.where(modern, b.uniform(0.2, 0.5), 0.0), b.uniform(0.85, 1.2), b.uniform(0.07, 0.1)
    inner = torch.where(modern, r + 0.05, (r - 0.02) * b.uniform(0.5, 1.0))
    b.limb((r + 0.05, -0.03, wheel + 0.04), (inner + spread, tail, thick), thick, frame, mirror="x", present=two)
    b.box((0.09 + r * 0.5, 0.08, 0.07), frame, at=(0, tail, thick), present=field)
    b.box((0.1, 0.06, 0.14), metal, at=(inner + spread, tail, 0.13), mirror="x", present=modern)
    sw, sh, slope = track * b.uniform(0.9, 1.25), b.uniform(0.24, 0.38), b.uniform(5, 25)
    b.box((sw, 0.045, sh), frame, rotate=(-slope, 0, 0), grow=(b.uniform(-0.25, 0.1), 0), at=(0, -0.14, z + sh * 0.35),
          present=modern & b.chance(0.8))  # fmt: skip
    _cannon_carriage(b, frame, metal, r=r, z=z, wheel=wheel, mortar=mortar, present=ship | mortar)


def _cannon_barrel(
    b: Builder, metal: Tensor, *, r: Tensor, length: Tensor, ahead: Tensor, rise: Tensor, z: Tensor, modern: Tensor
) -> None:
    """Tapered barrel through the trunnions (0, 0, z): hoops, muzzle flare and bore, knob or breech block behind."""
    p, turn, a = b.palette, (90 - rise, 0.0, 0.0), rise.deg2rad()

    def along(t: Tensor) -> tuple[float, Tensor, Tensor]:
        """The point t ahead of the trunnions."""
        return 0.0, -t * a.cos(), z + t * a.sin()

    hoop = torch.where(b.chance(0.5)[:, None], metal, b.plain(b.pick(p.metal, p.accent, p.light), 0.8))
    behind, slim = ahead - length, r * b.uniform(0.68, 0.9)
    b.cylinder(r, length / 2, metal, top=slim, rounding=0.03, rotate=turn, at=along(ahead - length / 2))
    b.cylinder(r * 1.12, length * 0.12, metal, top=r * 1.05, rotate=turn, at=along(behind + length * 0.14))
    flare = b.chance(0.75)
    long = torch.where(modern, 0.1, 0.07)
    b.cylinder(slim * 1.05, long, hoop, top=slim * b.uniform(1.2, 1.45), rounding=0.02, rotate=turn,
               at=along(ahead - long), present=flare)  # fmt: skip
    for t in (b.uniform(0.02, 0.12), b.uniform(0.45, 0.6), b.uniform(0.72, 0.82)):
        here = r + (slim - r) * t
        b.cylinder(here + 0.035, b.uniform(0.04, 0.06), hoop, rotate=turn, at=along(behind + length * t),
                   present=~modern & b.chance(0.75))  # fmt: skip
    b.ellipsoid((r * 0.95, r * 0.95, r * 0.6), metal, rotate=turn, at=along(behind), present=~modern)
    b.sphere(r * b.uniform(0.35, 0.48), hoop, at=along(behind - r * 0.75), present=~modern)
    b.box((r * 1.25, r * 1.35, 0.13), metal, rotate=turn, at=along(behind + 0.06), present=modern)
    under = (0.0, r * 1.35 * a.sin() * -1.0, z - r * 1.35 * a.cos())
    b.box((r * 0.7, 0.06, length * 0.3), metal, rotate=turn, rounding=0.05,
          at=(0, under[1] - length * 0.15 * a.cos(), under[2] + length * 0.15 * a.sin()), present=modern)  # fmt: skip
    bore = b.plain(p.dark * 0.4)
    b.cylinder(slim * 0.62, 0.16, bore, rotate=turn, at=along(ahead), operation="subtract")
    b.cylinder(slim * 0.62 + 0.02, 0.19, bore, rotate=turn, at=along(ahead), operation="paint")


def _cannon_wheels(b: Builder, *, r: Tensor, track: Tensor, field: Tensor, present: Tensor) -> None:
    """Spoked wooden wheels of a field gun, tyres of a howitzer."""
    p = b.palette
    wood = b.plain(b.pick(p.wood, p.wood * 0.6, p.accent, p.main))
    rim, at = torch.where(b.chance(0.5)[:, None], wood, b.plain(p.dark)), (track, 0.0, r)
    tube = b.uniform(0.055, 0.075)
    b.torus(r - tube, tube, rim, rotate=(0, 90, 0), at=at, mirror="x", present=present & field)
    b.box((r * 0.42, 0.042, 0.042), wood, rotate=(0, 90, 0), at=at, radial=(b.integer(6, 10), r * 0.46), mirror="x",
          present=present & field)  # fmt: skip
    b.cylinder(b.uniform(0.09, 0.12), 0.1, wood, rotate=(0, 90, 0), at=at, mirror="x", present=present & field)
    b.cylinder(r, 0.09, b.plain(p.dark * 0.8), rounding=0.04, rotate=(0, 90, 0), at=at, mirror="x",
               present=present & ~field)  # fmt: skip
    b.cylinder(r * 0.5, 0.2, b.plain(b.pick(p.metal, p.main)), rotate=(0, 90, 0), at=at, mirror="x",
               operation="paint", present=present & ~field)  # fmt: skip


def _cannon_carriage(
    b: Builder, frame: Tensor, metal: Tensor, *, r: Tensor, z: Tensor, wheel: Tensor, mortar: Tensor, present: Tensor
) -> None:
    """Two stepped cheeks on four small wheels, or a mortar's bed, with or without wheels."""
    p, low = b.palette, wheel * 0.9
    rolling = ~mortar | b.chance(0.5)
    half = torch.where(mortar, b.uniform(0.42, 0.55), b.uniform(0.5, 0.65))
    x, cheek = r + 0.06, torch.where(mortar, 0.09, 0.07)
    tall = (z - low) * 0.5
    b.box((cheek, half * 0.5, tall), frame, grow=(0, -0.12), at=(x, -half * 0.12, low + tall), mirror="x",
          present=present)  # fmt: skip
    b.box((cheek, half * 0.75, tall * 0.7), frame, at=(x, half * 0.2, low + tall * 0.7), mirror="x", present=present)
    b.box((cheek, half * 0.95, tall * 0.42), frame, at=(x, half * 0.28, low + tall * 0.42), mirror="x", present=present)
    b.box((x, half, 0.09), frame, at=(0, half * 0.22, low + 0.03), present=present)
    b.box((x + 0.14, half * 1.15, low * 0.5), frame, at=(0, half * 0.22, low * 0.5), present=present & ~rolling)
    hub = b.plain(b.pick(p.wood * 0.6, p.dark, p.wood))
    for y in (-half * 0.4, half * 0.85):
        b.cylinder(wheel, 0.07, hub, rotate=(0, 90, 0), at=(x + cheek + 0.05, y, wheel), mirror="x",
                   present=present & rolling)  # fmt: skip
        b.cylinder(0.06, 0.15, metal, rotate=(0, 90, 0), at=(x + cheek, y, wheel), mirror="x",
                   present=present & rolling)  # fmt: skip


def blaster(b: Builder) -> None:
    """Pistol, revolver, rifle (with scope and magazine) or space gun (rings, fins, dish); the muzzle to the left."""
    kind = b.integer(0, 4)  # pistol, revolver, rifle, space gun twice
    p = b.palette
    grip = b.pattern(b.pick(p.wood, p.dark, p.main, p.second), p.dark, axis=2, chance=0.3, kinds=(1, 2),
                     period=(0.12, 0.25))  # fmt: skip
    steel = b.plain(b.pick(p.metal, p.dark, p.main, p.metal), 0.9)
    lean, tall, x = b.uniform(8, 28), b.uniform(0.3, 0.42), b.uniform(0.4, 0.55)
    rifle = kind == 2
    tall = torch.where(rifle, tall * 0.7, tall)
    shift = lean.deg2rad().tan() * tall
    # Rotated about y by a negative angle: the grip's foot goes back, to the right.
    b.box((0.15, 0.1, tall), grip, rounding=0.05, grow=(b.uniform(-0.25, 0.1), 0), rotate=(0, -lean, 0),
          at=(x + shift, 0, -tall - 0.02))  # fmt: skip
    guard = b.uniform(0.15, 0.19)
    b.torus(guard, 0.055, steel, rotate=(90, 0, 0), at=(x - 0.2 - guard * 0.6, 0, -0.14))
    b.limb((x - 0.27, 0, 0), (x - 0.33, 0, -0.2), 0.055, b.plain(b.pick(p.dark, p.accent), 0.6))
    slide = b.plain(b.pick(p.metal, p.dark, p.light, p.main), 1.0)
    b.one_of(kind.clamp_max(3), partial(_pistol, steel=steel, slide=slide, x=x),
             partial(_revolver, steel=steel, drums=slide, x=x), partial(_rifle, steel=steel, grip=grip, x=x),
             partial(_space_gun, steel=steel, x=x))  # fmt: skip


def _pistol(b: Builder, here: Tensor, steel: Tensor, slide: Tensor, x: Tensor) -> None:
    """A slide on a frame with sights, sometimes a silencer."""
    p = b.palette
    length, h = b.uniform(0.65, 0.85), b.uniform(0.11, 0.15)
    end, mid = x + 0.22, x + 0.22 - length
    b.box((length, 0.12, h), slide, rounding=0.03, at=(mid, 0, h + 0.06), present=here)
    b.box((length * 0.85, 0.1, 0.09), steel, rounding=0.03, at=(mid + length * 0.12, 0, -0.01), present=here)
    b.cylinder(0.075, 0.1, steel, rotate=(0, 90, 0), at=(mid - length - 0.04, 0, h + 0.06), present=here)
    b.box((0.055, 0.055, 0.07), steel, at=(mid, 0, 2 * h + 0.09), array=(0, length * 1.75, 2), present=here)
    b.box((0.03, 0.5, h * 0.7), b.plain(p.dark * 0.6), at=(end - 0.2, 0, h + 0.08), array=(0, 0.09, 3),
          operation="paint", present=here & b.chance(0.6))  # fmt: skip
    b.box((0.16, 0.5, h * 0.4), b.plain(p.dark * 0.5), at=(mid - 0.05, -0.4, h * 1.5), operation="paint",
          present=here & b.chance(0.5))  # fmt: skip
    b.cylinder(0.09, b.uniform(0.2, 0.35), b.plain(p.dark, 0.5), rotate=(0, 90, 0),
               at=(mid - length - 0.2, 0, h + 0.06), present=here & b.chance(0.3))  # fmt: skip


def _revolver(b: Builder, here: Tensor, steel: Tensor, drums: Tensor, x: Tensor) -> None:
    """A drum behind a long barrel with a hammer."""
    drum, barrel, r = b.uniform(0.19, 0.24), b.uniform(0.35, 0.55), b.uniform(0.075, 0.1)
    z = 0.16
    b.box((0.2, 0.1, 0.2), steel, rounding=0.06, at=(x, 0, z - 0.02), present=here)
    b.cylinder(drum, 0.19, drums, rotate=(0, 90, 0), at=(x - 0.36, 0, z), present=here)
    b.box((0.38, 0.075, 0.06), steel, at=(x - 0.3, 0, z + drum + 0.02), present=here)
    b.box((0.38, 0.075, 0.06), steel, at=(x - 0.3, 0, z - drum + 0.02), present=here)
    b.cylinder(r, barrel, steel, rotate=(0, 90, 0), at=(x - 0.55 - barrel, 0, z + 0.1), present=here)
    b.box((barrel * 0.6, 0.06, 0.07), steel, at=(x - 0.5 - barrel * 0.6, 0, z - 0.03), present=here)
    b.box((0.1, 0.1, drum), steel, rounding=0.03, at=(x - 0.6, 0, z), present=here)
    b.box((0.08, 0.055, 0.06), steel, at=(x - 0.5 - 2 * barrel, 0, z + 0.2), present=here)
    b.limb((x + 0.12, 0, z + 0.1), (x + 0.28, 0, z + 0.3), 0.07, steel, present=here)


def _rifle(b: Builder, here: Tensor, steel: Tensor, grip: Tensor, x: Tensor) -> None:
    """Receiver, barrel, fore-end, stock, and maybe scope, magazine, second grip."""
    p = b.palette
    r, length = b.uniform(0.06, 0.08), b.uniform(0.5, 0.75)
    b.box((0.42, 0.11, 0.13), steel, rounding=0.04, at=(x - 0.22, 0, 0.12), present=here)
    front = x - 0.6
    fore = length * b.uniform(0.45, 0.7)
    b.box((fore, 0.11, 0.1), grip, rounding=0.05, at=(front - fore + 0.04, 0, 0.1), present=here)
    b.cylinder(r, length, steel, rotate=(0, 90, 0), at=(front - length, 0, 0.16), present=here)
    b.cylinder(r * 1.6, 0.1, steel, rotate=(0, 90, 0), at=(front - 2 * length, 0, 0.16), present=here & b.chance(0.5))
    b.box((0.055, 0.055, 0.1), steel, at=(front - 2 * length + 0.15, 0, 0.27), present=here)
    stock, drop = b.uniform(0.3, 0.42), b.uniform(5, 14)
    b.box((0.13, 0.09, stock), grip, rounding=0.04, grow=(b.uniform(0.2, 0.5), 0), rotate=(0, 90 + drop, 0),
          at=(x + 0.15 + stock, 0, 0.06 - stock * 0.15), present=here)  # fmt: skip
    scope, s = here & b.chance(0.6), b.uniform(0.08, 0.11)
    b.cylinder(s, 0.32, b.plain(b.pick(p.dark, p.metal), 0.8), rotate=(0, 90, 0), at=(x - 0.25, 0, 0.42), present=scope)
    b.cylinder(s * 1.35, 0.08, b.plain(b.pick(p.dark, p.accent), 0.8), rotate=(0, 90, 0), at=(x - 0.25, 0, 0.42),
               array=(2, 0.6, 2), present=scope)  # fmt: skip
    b.box((0.06, 0.06, 0.1), steel, at=(x - 0.25, 0, 0.3), array=(0, 0.3, 2), present=scope)
    clip, lean = here & b.chance(0.6), b.uniform(-5, 25)
    b.box((0.11, 0.075, b.uniform(0.2, 0.32)), b.plain(b.pick(p.dark, p.metal, p.accent), 0.6), rotate=(0, lean, 0),
          at=(front + 0.06, 0, -0.15), present=clip)  # fmt: skip


def _space_gun(b: Builder, here: Tensor, steel: Tensor, x: Tensor) -> None:
    """Round or boxy body, tapering barrel with rings, glowing tip or dish, fins, tank or coil on top."""
    p = b.palette
    shell = b.pattern(b.pick(p.main, p.second, p.light, p.metal), p.accent, axis=2, chance=0.35, kinds=(1, 3),
                      period=(0.3, 0.5), gloss=1.0)  # fmt: skip
    trim, glow = b.plain(b.pick(p.accent, p.light, p.second), 0.9), b.plain(b.pick(p.glass, p.accent, p.leaf), 1.0)
    boxy, z, r = b.chance(0.4), 0.18, b.uniform(0.2, 0.3)
    long = b.uniform(0.45, 0.6)
    b.ellipsoid((long, r, r), shell, at=(x - 0.25, 0, z), present=here & ~boxy)
    b.box((long, r * 0.75, r * 0.8), shell, rounding=0.08, grow=(b.uniform(-0.2, 0.1), -0.3), at=(x - 0.25, 0, z),
          present=here & boxy)  # fmt: skip
    start, reach = x - 0.2 - long, b.uniform(0.25, 0.42)
    tip = start - 2 * reach + 0.2
    b.cylinder(b.uniform(0.07, 0.1), reach, steel, top=r * b.uniform(0.45, 0.7), rotate=(0, 90, 0),
               at=(start - reach + 0.2, 0, z), present=here)  # fmt: skip
    b.torus(r * b.uniform(0.6, 0.85), 0.07, trim, rotate=(0, 90, 0), at=(start - reach * 0.75 + 0.2, 0, z),
            array=(2, 0.22, b.integer(2, 3)), present=here & b.chance(0.75))  # fmt: skip
    end, wide = b.integer(0, 2), b.uniform(0.16, 0.26)
    b.sphere(wide * 0.65, glow, at=(tip, 0, z), present=here & (end == 0))
    b.cylinder(wide, 0.1, trim, top=0.08, rotate=(0, 90, 0), at=(tip, 0, z), present=here & (end == 1))
    b.cylinder(0.12, 0.14, trim, rotate=(0, 90, 0), at=(tip, 0, z), present=here & (end == 2))
    b.torus(r * 0.95, 0.065, trim, rotate=(0, 90, 0), at=(x - 0.25, 0, z), present=here & ~boxy & b.chance(0.6))
    extra = b.integer(0, 3)  # fin, tank, coil, scope
    b.box((0.22, 0.06, 0.17), trim, rounding=0.03, grow=(-0.5, 0), shear=(0.12, 0),
          at=(x - 0.1, 0, z + r * 0.85 + 0.08), present=here & (extra == 0))  # fmt: skip
    b.capsule(0.2, 0.13, glow, rotate=(0, 90, 0), at=(x - 0.25, 0, z + r + 0.06), present=here & (extra == 1))
    b.torus(0.13, 0.06, glow, rotate=(90, 0, 0), at=(x - 0.25, 0, z + r * 0.9 + 0.05), array=(0, 0.28, 2),
            present=here & (extra == 2))  # fmt: skip
    b.cylinder(0.09, 0.24, steel, rotate=(0, 90, 0), at=(x - 0.25, 0, z + r + 0.12), present=here & (extra == 3))
    b.box((0.06, 0.055, 0.12), steel, at=(x - 0.25, 0, z + r), present=here & (extra == 3))
    b.cylinder(0.11, 0.14, trim, rotate=(0, 90, 0), top=0.17, at=(x - 0.25 + long, 0, z), present=here & b.chance(0.5))
    b.cylinder(0.09, 0.5, glow, rotate=(90, 0, 0), at=(x - 0.25, 0, z), operation="paint",
               array=(0, 0.26, b.integer(1, 3)), present=here & b.chance(0.7))  # fmt: skip
