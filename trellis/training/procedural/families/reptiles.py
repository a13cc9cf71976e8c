"""Reptiles: dinosaur, dragon."""

from itertools import pairwise

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder, Number, Vector, each_kind

Point = tuple[Number, Number, Number]


def _row(b: Builder, point: Vector) -> Tensor:
    return torch.stack([torch.as_tensor(value, dtype=torch.float32).expand(b.count) for value in point], -1)


def _panel(
    b: Builder, apex: Tensor, left: Tensor, right: Tensor, material: Tensor, *, present: Tensor | None = None
) -> None:
    """Flat triangle between three points [B, 3], on both sides."""
    middle = (left + right) / 2
    z = torch.nn.functional.normalize(apex - middle, dim=-1)
    x = right - left
    x = torch.nn.functional.normalize(x - (x * z).sum(-1, keepdim=True) * z, dim=-1)
    frame = torch.stack([x, torch.linalg.cross(z, x), z], -1)
    half = ((right - left).norm(dim=-1) / 4, 0.042, (apex - middle).norm(dim=-1) / 2 + 0.02)
    b.box(half, material, rounding=0.02, grow=(-0.95, 0), frame=frame, at=((apex + middle) / 2).unbind(-1), mirror="x",
          present=present)  # fmt: skip


def _reptile_head(
    b: Builder, skin: Tensor, *, at: tuple[Tensor, Tensor], size: Tensor, snout: Tensor, gape: Tensor
) -> None:
    """Skull with a snout, a lower jaw that opens by `gape`, teeth, nostrils and eyes at (y, z)."""
    p, (y, z) = b.palette, at
    b.ellipsoid((size * 0.8, size, size * 0.85), skin, at=(0, y, z))
    tip, low = y - size * 0.5 - snout, z - size * 0.15
    b.limb((0, y - size * 0.3, z), (0, tip, low), size * 0.62, skin, end_radius=size * 0.48, blend=0.05)
    b.limb((0, y - size * 0.1, z - size * 0.4), (0, tip + 0.06, low - size * 0.35 - gape), size * 0.42, skin,
           end_radius=(size * 0.3).clamp_min(0.05))  # fmt: skip
    b.box((size * 0.5, snout * 0.5 + 0.05, 0.05), b.plain(p.light), at=(0, tip + snout * 0.3, low - size * 0.42),
          operation="paint", present=b.chance(0.6))  # fmt: skip
    dark = b.plain(p.dark * 0.4, 1.0)
    b.sphere(size * 0.13, dark, at=(size * 0.25, tip - size * 0.42, low + size * 0.2), mirror="x", operation="paint")
    eye = (size * b.uniform(0.26, 0.34)).clamp_min(0.05)
    spot = (size * 0.62, y - size * 0.42, z + size * 0.42)
    b.sphere(eye, b.plain(b.pick(p.light, p.accent), 1.0), at=spot, mirror="x")
    b.sphere(eye * 0.65, dark, at=(spot[0] + eye * 0.3, spot[1] - eye * 0.75, spot[2]), mirror="x", operation="paint")


def dinosaur(b: Builder) -> None:
    """Two-legged tyrant with small arms, long neck on four legs, three horns and a frill, plates or a club; sail."""
    p, kind = b.palette, b.integer(0, 3)
    rex = kind == 0
    skin = b.pattern(b.pick(p.leaf, p.main, p.second, p.wood), b.pick(p.second, p.dark, p.light, p.accent), axis=1,
                     chance=0.45, kinds=(1, 4, 5), period=(0.2, 0.4), gloss=0.3)  # fmt: skip
    trim = b.plain(b.pick(p.accent, p.second, p.dark, p.light))
    w = each_kind(kind, b.uniform(0.19, 0.27), b.uniform(0.24, 0.34), b.uniform(0.27, 0.36), b.uniform(0.22, 0.31))
    length = each_kind(kind, b.uniform(0.36, 0.46), b.uniform(0.4, 0.52), b.uniform(0.42, 0.54), b.uniform(0.45, 0.58))
    h = each_kind(kind, b.uniform(0.22, 0.3), b.uniform(0.24, 0.33), b.uniform(0.27, 0.34), b.uniform(0.27, 0.38))
    leg = each_kind(kind, b.uniform(0.38, 0.52), b.uniform(0.28, 0.5), b.uniform(0.18, 0.3), b.uniform(0.2, 0.34))
    tilt = each_kind(kind, b.uniform(14, 42), b.uniform(-4, 10), b.uniform(-6, 3), b.uniform(-12, -3))
    z, slope, flat = leg + h * 0.75, tilt.deg2rad().sin(), tilt.deg2rad().cos()
    b.ellipsoid((w, length, h), skin, rotate=(-tilt, 0, 0), at=(0, 0, z))
    b.ellipsoid((w * 0.8, length * 0.95, h * 0.8), b.plain(b.pick(p.light, p.second)), rotate=(-tilt, 0, 0),
                at=(0, -slope * h * 0.7, z - h * 0.7), operation="paint", present=b.chance(0.5))  # fmt: skip
    chest, hip = (-length * 0.68 * flat, z + length * 0.68 * slope), (length * 0.6 * flat, z - length * 0.6 * slope)
    tail = each_kind(kind, b.uniform(0.32, 0.45), b.uniform(0.45, 0.7), b.uniform(0.18, 0.3), b.uniform(0.28, 0.42))
    bend = (hip[0] + tail, hip[1] * 0.85 + 0.03 + each_kind(kind, 0.03, -0.05, -0.1, 0.0))
    end = (bend[0] + tail * b.uniform(0.7, 1.0), bend[1] + b.uniform(-0.15, 0.3))
    b.limb((0, *hip), (0, *bend), h * 0.62, skin, end_radius=0.12, blend=0.12)
    b.limb((0, *bend), (0, *end), 0.12, skin, end_radius=0.055)
    rise, reach = (
        each_kind(kind, 0.16, b.uniform(0.3, 0.42), 0.02, -0.02),
        each_kind(kind, 0.1, b.uniform(0.15, 0.3), 0.1, 0.1),
    )
    nape = (chest[0] - reach, chest[1] + rise)
    ahead = each_kind(kind, 0.1, b.uniform(0.05, 0.25), 0.14, b.uniform(0.08, 0.18))
    above = each_kind(kind, b.uniform(0.1, 0.2), b.uniform(0.3, 0.7), 0.0, b.uniform(-0.1, 0.04))
    head = (nape[0] - ahead, nape[1] + above)
    size = each_kind(kind, b.uniform(0.2, 0.29), b.uniform(0.13, 0.18), b.uniform(0.2, 0.27), b.uniform(0.13, 0.17))
    neck = each_kind(kind, h * 0.62, h * 0.45, h * 0.7, h * 0.5)
    b.limb((0, *chest), (0, *nape), neck * 1.15, skin, end_radius=neck * 0.75, blend=0.12)
    b.limb((0, *nape), (0, *head), neck * 0.75, skin, end_radius=torch.minimum(neck * 0.7, size * 0.75), blend=0.05)
    snout = size * each_kind(kind, b.uniform(0.7, 1.1), 0.5, b.uniform(0.5, 0.8), 0.6)
    _reptile_head(b, skin, at=head, size=size, snout=snout, gape=torch.where(rex, b.uniform(0.0, 0.14), 0.0))
    _dinosaur_legs(b, skin, trim, body=(w, chest[0], chest[1], z), kind=kind)
    _dinosaur_armour(b, trim, head=head, size=size, back=(length, h, z), tail=end, kind=kind)


def _dinosaur_legs(
    b: Builder, skin: Tensor, trim: Tensor, *, body: tuple[Tensor, Tensor, Tensor, Tensor], kind: Tensor
) -> None:
    """Hind legs with knees and feet; front legs, or the small arms of a tyrant."""
    (w, y, chest, z), rex = body, kind == 0
    r, x = b.uniform(0.09, 0.12), w * b.uniform(0.7, 0.9)
    back = torch.where(rex, 0.1, -y * 0.8)
    bend = torch.where(rex, b.uniform(0.1, 0.18), 0.03)
    b.limb((x * 0.85, back, z - 0.02), (x, back - bend, z * 0.5), r * 1.6, skin, end_radius=r * 1.1, mirror="x")
    b.limb((x, back - bend, z * 0.5), (x, back + bend * 0.3, 0.07), r * 1.1, skin, end_radius=r * 0.95, mirror="x")
    foot = b.plain(b.palette.light)
    b.box((r * 1.15, r * torch.where(rex, 1.9, 1.3), 0.06), skin, rounding=0.05, mirror="x",
          at=(x, back + bend * 0.3 - r * torch.where(rex, 0.9, 0.35), 0.05))  # fmt: skip
    hand = (torch.where(rex, x * 0.75, x), torch.where(rex, y - b.uniform(0.14, 0.22), y * 0.85),
            torch.where(rex, chest - b.uniform(0.12, 0.25), 0.06))  # fmt: skip
    b.limb((x * 0.8, torch.where(rex, y * 0.9, y * 0.8), torch.where(rex, chest - 0.06, z - 0.03)), hand,
           torch.where(rex, 0.07, r * 1.3), skin, end_radius=torch.where(rex, 0.058, r), mirror="x")  # fmt: skip
    b.box((1.0, 3.0, 0.07), torch.where(b.chance(0.5)[:, None], trim, foot), at=(0, 0, 0.0), operation="paint",
          present=b.chance(0.5))  # fmt: skip


def _dinosaur_armour(
    b: Builder,
    trim: Tensor,
    *,
    head: tuple[Tensor, Tensor],
    size: Tensor,
    back: tuple[Tensor, Tensor, Tensor],
    tail: tuple[Tensor, Tensor],
    kind: Tensor,
) -> None:
    """A tyrant's sail or crest, a frill with horns, two rows of plates, tail spikes or a club, by kind."""
    (y, z), (length, h, mid), p = head, back, b.palette
    sail, frill, club = (kind == 0) & b.chance(0.3), kind == 2, (kind == 3) & b.chance(0.35)
    b.ellipsoid((0.055, length * 0.75, h * b.uniform(0.8, 1.2)), trim, at=(0, 0.05, mid + h * 0.85), present=sail)
    disc, lean, n = b.uniform(0.27, 0.4), b.uniform(50, 75), b.integer(7, 10)
    middle = (0.0, y + size * 0.55, z + size * 0.5)
    b.ellipsoid((disc * 1.08, disc, 0.075), trim, rotate=(lean, 0, 0), at=middle, present=frill)
    bone = b.plain(p.light, 0.5)
    b.sphere(0.065, bone, rotate=(lean, 0, 0), at=middle, radial=(n, disc), present=frill & b.chance(0.5))
    horn = b.uniform(0.2, 0.38)
    tip = (size * 0.6, y - size * 0.6 - horn, z + size * 0.7 + horn * 0.5)
    b.limb((size * 0.4, y - size * 0.4, z + size * 0.5), tip, 0.085, bone, end_radius=0.045, mirror="x",
           present=frill & b.chance(0.85))  # fmt: skip
    nose = y - size * 1.15
    b.limb((0, nose, z), (0, nose - 0.08, z + size * 0.45 + b.uniform(0.05, 0.2)), 0.08, bone, end_radius=0.045,
           present=frill)  # fmt: skip
    tall, step, apart = b.uniform(0.2, 0.3), length * b.uniform(0.46, 0.54), torch.where(b.chance(0.5), 0.075, 0.0)
    plates = (kind == 3) & ~club
    b.box((0.05, 0.12, tall), trim, rounding=0.03, grow=(0, -0.75), at=(apart, 0, mid + h * 0.95), mirror="x",
          array=(1, step, 3), present=plates)  # fmt: skip
    b.box((0.05, 0.08, tall * 0.75), trim, rounding=0.03, grow=(0, -0.75), at=(apart * 0.7, 0, mid + h * 0.6),
          mirror="x", array=(1, step * 3.6, 2), present=plates)  # fmt: skip
    b.limb((0, tail[0] - 0.08, tail[1]), (0.16, tail[0] + 0.02, tail[1] + 0.16), 0.06, bone, end_radius=0.045,
           mirror="x", present=plates)  # fmt: skip
    b.ellipsoid((0.16, 0.15, 0.12), trim, at=(0, tail[0] + 0.02, tail[1]), present=club)
    b.cylinder(0.09, 0.12, bone, top=0.02, at=(0.12, 0, mid + h * 0.92), mirror="x", array=(1, length * 0.38, 4),
               present=club)  # fmt: skip


def dragon(b: Builder) -> None:
    """On four legs, upright with arms, or a wyvern on two: bat wings, horns, spikes, long neck and tail with a tip."""
    p, kind = b.palette, b.integer(0, 2)
    four, wyvern = kind == 0, kind == 2
    skin = b.pattern(b.pick(p.main, p.leaf, p.accent, p.dark * 1.4, p.second), b.pick(p.second, p.dark, p.accent),
                     axis=1, chance=0.35, kinds=(1, 4, 5), period=(0.2, 0.4), gloss=0.5)  # fmt: skip
    trim, bone = b.plain(b.pick(p.accent, p.second, p.light, p.dark)), b.plain(b.pick(p.light, p.dark, p.accent), 0.5)
    w = each_kind(kind, b.uniform(0.18, 0.26), b.uniform(0.24, 0.36), b.uniform(0.17, 0.24))
    length = each_kind(kind, b.uniform(0.4, 0.52), b.uniform(0.36, 0.46), b.uniform(0.34, 0.44))
    tilt = each_kind(kind, b.uniform(-2, 14), b.uniform(66, 80), b.uniform(24, 45))
    leg = each_kind(kind, b.uniform(0.28, 0.45), b.uniform(0.12, 0.26), b.uniform(0.3, 0.45))
    slope, flat = tilt.deg2rad().sin(), tilt.deg2rad().cos()
    h = w * b.uniform(0.95, 1.15)
    z = leg + torch.where(kind == 1, length * 0.9, h * 0.8)
    b.ellipsoid((w, length, h), skin, rotate=(-tilt, 0, 0), at=(0, 0, z))
    belly = b.pattern(b.pick(p.light, p.second, p.accent), p.light, axis=1, chance=0.5, kinds=(1,), period=(0.12, 0.2))
    b.ellipsoid((w * 0.75, length * 1.1, h * 0.7), belly, rotate=(-tilt, 0, 0),
                at=(0, -slope * h * 0.75, z - flat * h * 0.75), operation="paint", present=b.chance(0.8))  # fmt: skip
    chest, hip = (-length * 0.65 * flat, z + length * 0.65 * slope), (length * 0.55 * flat, z - length * 0.55 * slope)
    size = b.uniform(0.16, 0.23) * torch.where(kind == 1, 1.2, 1.0)
    neck = each_kind(kind, b.uniform(0.2, 0.5), b.uniform(0.06, 0.25), b.uniform(0.15, 0.4))
    nape = (chest[0] - neck * each_kind(kind, 0.6, 0.15, 0.5), chest[1] + neck * 0.8)
    head = (nape[0] - each_kind(kind, 0.15, 0.08, 0.14), nape[1] + 0.12 + neck * 0.2)
    b.limb((0, *chest), (0, *nape), h * 0.78, skin, end_radius=h * 0.55, blend=0.12)
    b.limb((0, *nape), (0, *head), h * 0.55, skin, end_radius=torch.minimum(h * 0.5, size * 0.7), blend=0.05)
    gape = torch.where(b.chance(0.4), b.uniform(0.05, 0.13), 0.0)
    _reptile_head(b, skin, at=head, size=size, snout=size * b.uniform(0.6, 1.2), gape=gape)
    hx, back, up = b.uniform(0.0, 0.15), b.uniform(0.05, 0.35), b.uniform(0.12, 0.35)
    brow = head[1] + size * 0.5
    b.limb((size * 0.42, head[0] + 0.03, brow), (size * 0.5 + hx, head[0] + back, brow + up), 0.08, bone,
           end_radius=0.045, mirror="x")  # fmt: skip
    b.box((0.05, 0.1, 0.1), trim, rounding=0.03, grow=(0, -0.6), rotate=(-50, 0, 30), mirror="x",
          at=(size * 0.85, head[0] + size * 0.6, head[1]), present=b.chance(0.4))  # fmt: skip
    ax, rise = w * 0.6, b.uniform(0.05, 0.14)
    spikes = b.chance(0.75)
    b.box((0.05, 0.09, rise + 0.05), trim, rounding=0.025, grow=(0, -0.85), rotate=(-tilt, 0, 0), array=(1, 0.2, 4),
          at=(0, slope * h * 0.95, z + flat * h * 0.95), present=spikes)  # fmt: skip
    _dragon_tail(b, skin, trim, hip=hip, radius=h * 0.72, spikes=spikes)
    _dragon_limbs(b, skin, bone, body=(w, z), chest=chest, hip=hip, kind=kind)
    root = (ax, chest[0] * 0.6 + slope * h * 0.6, chest[1] - (chest[1] - z) * 0.4 + flat * h * 0.6)
    _bat_wing(b, skin, root=root, size=b.uniform(0.9, 1.25) * torch.where(wyvern, 1.15, 1.0), four=four)


def _dragon_tail(
    b: Builder, skin: Tensor, trim: Tensor, *, hip: tuple[Tensor, Tensor], radius: Tensor, spikes: Tensor
) -> None:
    """Tail of three pieces along the ground or raised, with spikes and an arrow, a ball or nothing at its end."""
    step, curl = b.uniform(0.24, 0.36), b.uniform(-0.02, 0.4)
    first = (hip[0] + step, torch.maximum(hip[1] * 0.5, hip[1] - 0.3).clamp_min(0.16))
    second = (first[0] + step, (first[1] * 0.7 + curl * 0.2).clamp_min(0.12))
    end = (second[0] + step * 0.9, second[1] + curl)
    b.limb((0, *hip), (0, *first), radius, skin, end_radius=radius * 0.62, blend=0.1)
    b.limb((0, *first), (0, *second), radius * 0.62, skin, end_radius=0.09)
    b.limb((0, *second), (0, *end), 0.09, skin, end_radius=0.055)
    arrow, ball = b.chance(0.5), b.chance(0.3)
    turn = curl.atan2(step * 0.9).rad2deg() - 90
    b.box((0.14, 0.05, 0.13), trim, rounding=0.03, grow=(-0.85, 0), rotate=(turn, 0, 0),
          at=(0, end[0] + 0.04, end[1]), present=arrow)  # fmt: skip
    b.sphere(0.11, trim, at=(0, *end), present=~arrow & ball)
    for (y, z), size in ((first, radius * 0.62), (second, torch.full_like(radius, 0.09))):
        b.box((0.05, 0.08, 0.12), trim, rounding=0.025, grow=(0, -0.85), rotate=(-15, 0, 0), at=(0, y, z + size + 0.04),
              present=spikes)  # fmt: skip


def _dragon_limbs(
    b: Builder,
    skin: Tensor,
    bone: Tensor,
    *,
    body: tuple[Tensor, Tensor],
    chest: tuple[Tensor, Tensor],
    hip: tuple[Tensor, Tensor],
    kind: Tensor,
) -> None:
    """Hind legs with thighs, feet and claws; front legs or short arms, which a wyvern lacks."""
    (w, z), upright = body, kind == 1
    r, x = b.uniform(0.08, 0.11), w * b.uniform(0.8, 1.0)
    y = torch.where(kind == 2, 0.08, hip[0] * 0.9)
    top = torch.where(upright, hip[1] + 0.02, z - w * 0.2)
    b.limb((x * 0.85, y, top), (x * 1.05, y - 0.1, top * 0.52), r * 1.6, skin, end_radius=r * 1.1, mirror="x")
    b.limb((x * 1.05, y - 0.1, top * 0.52), (x * 1.05, y + 0.02, 0.07), r * 1.1, skin, end_radius=r, mirror="x")
    b.box((r * 1.15, r * 1.8, 0.06), skin, rounding=0.05, at=(x * 1.05, y - r * 0.8, 0.05), mirror="x")
    b.box((w * 3, r * 0.7, 0.1), bone, at=(0, y - r * 2.5, 0.05), operation="paint", present=b.chance(0.6))
    hand = (torch.where(upright, x * 1.1, x), torch.where(upright, chest[0] - b.uniform(0.15, 0.32), chest[0] * 0.95),
            torch.where(upright, chest[1] - b.uniform(0.02, 0.3), 0.06))  # fmt: skip
    b.limb((x * 0.8, chest[0] * 0.9, chest[1] - w * torch.where(upright, 0.5, 0.2)), hand, r * 1.15, skin,
           end_radius=r * 0.8, mirror="x", present=kind < 2)  # fmt: skip
    b.ellipsoid((r * 1.05, r * 1.35, 0.07), skin, at=(hand[0], hand[1] - 0.04, hand[2]), mirror="x", present=kind < 2)


def _bat_wing(b: Builder, skin: Tensor, *, root: Point, size: Tensor, four: Tensor) -> None:
    """Wings of an arm and three fingers with skin between them, from flat to raised, turned to the front or back."""
    p = b.palette
    web = b.pattern(b.pick(p.accent, p.second, p.main, p.light, p.dark), b.pick(p.second, p.light), chance=0.3,
                    kinds=(1, 4), period=(0.2, 0.4))  # fmt: skip
    lift, back = b.uniform(5, 60).deg2rad(), b.uniform(0.05, 0.5)
    drop = b.uniform(0, 70).deg2rad() * torch.where(four, 0.7, 1.0)
    out = _row(b, (lift.cos(), back * 0.5, lift.sin()))
    down = _row(b, (0.12, drop.cos(), -drop.sin()))
    start, scale = _row(b, root), size[:, None]
    wrist = start + scale * (out * 0.3 - down * 0.12)
    tips = []
    for angle, reach in ((-8.0, 0.62), (28.0, 0.62), (62.0, 0.56), (105.0, 0.46)):
        turn = torch.tensor(angle).deg2rad()
        tips.append(wrist + scale * reach * (out * turn.cos() + down * turn.sin()))
    b.limb(root, wrist.unbind(-1), 0.075, skin, mirror="x")
    for tip in tips[:3]:
        b.limb(wrist.unbind(-1), tip.unbind(-1), 0.06, skin, end_radius=0.045, mirror="x")
    for left, right in pairwise(tips):
        _panel(b, wrist, left, right, web)
    _panel(b, wrist, tips[3], start, web)
