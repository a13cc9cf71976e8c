"""Buildings: house, castle tower, lighthouse, windmill, church."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder


def house(b: Builder) -> None:
    """Walls, gabled or hipped roof, door, windows, chimney, optional annex and porch."""
    p = b.palette
    wall = b.pattern(
        b.pick(p.light, p.main, p.second, p.wood), p.light, axis=2, chance=0.3, kinds=(1, 3), period=(0.15, 0.4)
    )
    roof = b.pattern(
        b.pick(p.accent, p.wood, p.dark, p.main), p.dark, axis=2, chance=0.35, kinds=(1,), period=(0.15, 0.25)
    )
    d, h = b.uniform(0.36, 0.5), b.uniform(0.25, 0.55)
    w = d * b.uniform(1.15, 1.6)  # the front is the broad side
    b.box((w, d, h), wall, rounding=0.02, at=(0, 0, h))
    pitch, over = b.uniform(0.18, 0.4), b.uniform(0.04, 0.12)
    style = b.integer(0, 2)
    z = 2 * h + pitch - 0.02
    b.box((w + over, (d + over) * 0.52, pitch), roof, rounding=0.02, grow=(0, -0.94), at=(0, 0, z), present=style == 0)
    b.box(((w + over) * 0.52, d + over, pitch), roof, rounding=0.02, grow=(-0.94, 0), at=(0, 0, z), present=style == 1)
    b.box(
        ((w + over) * 0.68, (d + over) * 0.54, pitch),
        roof,
        rounding=0.02,
        grow=(-0.5, -0.9),
        at=(0, 0, z),
        present=style == 2,
    )
    door_w, door_h, shift = _house_openings(b, w, d, h)
    b.box(
        (0.08, 0.08, 0.2),
        b.plain(b.pick(p.wood, p.dark, p.accent)),
        at=(w * 0.5, d * 0.25, 2 * h + pitch * 1.4),
        present=b.chance(0.65),
    )
    _house_annex(b, wall, roof, size=(w, d, h))
    b.box(
        (door_w * 2, 0.16, 0.045),
        roof,
        rotate=(15, 0, 0),
        at=(shift, -d - 0.12, door_h * 2 + 0.09),
        present=b.chance(0.4),
    )
    b.box((w + 0.12, d + 0.12, 0.05), b.plain(b.pick(p.leaf, p.metal, p.wood)), at=(0, 0, 0), present=b.chance(0.5))


def _house_openings(b: Builder, w: Tensor, d: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows and a door on walls of half width w, half depth d, half height h; the door's half sizes and place."""
    p = b.palette
    glass = b.plain(b.pick(p.glass, p.glass, p.dark), 0.9)
    door_w, door_h, shift = b.uniform(0.1, 0.15), b.uniform(0.18, 0.26), b.uniform(-0.4, 0.4) * w
    n, floors = b.integer(2, 3), b.integer(1, 2)
    window = 0.24 * w
    frame = b.plain(p.light)
    wz = h * 1.25
    b.box(
        (window * 0.55, d * 2, h * 0.27),
        frame,
        at=(0, -d * 2.5, wz),
        array=(0, 1.25 * w * 0.9 / (n - 0.6), n),
        operation="paint",
    )
    b.box(
        (window * 0.4, d * 2, h * 0.2),
        glass,
        at=(0, -d * 2.5, wz),
        array=(0, 1.25 * w * 0.9 / (n - 0.6), n),
        operation="paint",
    )
    b.box((w * 2, d * 0.2, h * 0.22), glass, at=(0, 0, wz), array=(1, d * 0.8, floors), operation="paint")
    b.box((door_w, 0.06, door_h), b.plain(b.pick(p.accent, p.wood, p.main)), at=(shift, -d, door_h))
    return door_w, door_h, shift


def _house_annex(b: Builder, wall: Tensor, roof: Tensor, *, size: tuple[Tensor, Tensor, Tensor]) -> None:
    """A lower wing with a roof at the right side of walls of half sizes `size`."""
    w, d, h = size
    annex = b.chance(0.35)
    aw, ah = b.uniform(0.2, 0.3), h * b.uniform(0.4, 0.7)
    b.box((aw, d * 0.7, ah), wall, at=(w + aw * 0.9, 0.05, ah), present=annex)
    b.box(
        ((aw + 0.06) * 0.7, (d * 0.7 + 0.06) * 0.8, 0.12),
        roof,
        grow=(-0.45, -0.25),
        at=(w + aw * 0.9, 0.05, ah * 2 + 0.1),
        present=annex,
    )


def castle(b: Builder) -> None:
    """Keep with corner towers, battlements or pointed roofs, a gate and a flag."""
    p = b.palette
    stone = b.pattern(
        b.pick(p.metal, p.light, p.wood, p.main), p.metal, axis=2, chance=0.35, kinds=(1, 2), period=(0.2, 0.35)
    )
    roof = b.plain(b.pick(p.accent, p.main, p.second))
    w, h = b.uniform(0.36, 0.52), b.uniform(0.18, 0.34)
    b.box((w, w * 0.85, h), stone, at=(0, 0, h))
    r, th = b.uniform(0.13, 0.18), h * b.uniform(1.15, 1.7)
    b.cylinder(r, th, stone, at=(w, w * 0.85, th), mirror="xy")
    pointed = b.chance(0.6)
    cone = b.uniform(0.16, 0.3)
    b.cylinder(r * 1.2, cone, roof, top=0.02, at=(w, w * 0.85, 2 * th + cone), mirror="xy", present=pointed)
    b.cylinder(r * 1.15, 0.07, stone, at=(w, w * 0.85, 2 * th), mirror="xy", present=~pointed)
    n = b.integer(3, 4)
    b.box((0.065, w * 0.85, 0.07), stone, at=(0, 0, 2 * h + 0.05), array=(0, 1.4 * w / n, n))
    keep = b.chance(0.6)
    kr, kh = b.uniform(0.18, 0.28), b.uniform(0.18, 0.4)
    b.cylinder(kr, kh, stone, at=(0, 0, 2 * h + kh), present=keep)
    b.cylinder(kr * 1.15, cone * 1.1, roof, top=0.02, at=(0, 0, 2 * h + 2 * kh + cone * 1.1), present=keep)
    gate = b.plain(b.pick(p.wood, p.dark))
    b.box((0.13, 0.07, 0.14), gate, at=(0, -w * 0.85, 0.14))
    b.cylinder(0.13, 0.07, gate, rotate=(90, 0, 0), at=(0, -w * 0.85, 0.28))
    b.box((0.04, 1, 0.08), b.plain(p.dark), at=(w, -w, th * 1.3), mirror="x", operation="paint")
    b.box((w * 1.45, w * 1.3, 0.05), b.plain(p.leaf), at=(0, 0, 0), present=b.chance(0.35))


def lighthouse(b: Builder) -> None:
    """Striped tapering tower, gallery, lantern room, dome or cone roof, on a rock."""
    p = b.palette
    tower = b.pattern(
        b.pick(p.light, p.main, p.accent),
        b.pick(p.accent, p.light, p.main),
        axis=2,
        chance=0.8,
        kinds=(1,),
        period=(0.3, 0.7),
    )
    r, h = b.uniform(0.26, 0.4), b.uniform(0.6, 0.95)
    top = r * b.uniform(0.5, 0.8)
    b.cylinder(r, h, tower, top=top, at=(0, 0, h))
    b.cylinder(top * 1.45, 0.06, b.plain(b.pick(p.dark, p.second, p.accent)), at=(0, 0, 2 * h))
    room = b.uniform(0.11, 0.17)
    b.cylinder(top * 0.8, room, b.plain(p.glass, 1.0), at=(0, 0, 2 * h + room))
    cap = b.plain(b.pick(p.accent, p.dark, p.main), 0.6)
    dome = b.chance(0.4)
    z = 2 * h + 2 * room
    b.ellipsoid((top, top, top * 0.8), cap, at=(0, 0, z), present=dome)
    b.cylinder(top * 1.1, 0.15, cap, top=0.05, at=(0, 0, z + 0.13), present=~dome)
    b.sphere(0.07, cap, at=(0, 0, z + 0.3), present=b.chance(0.5))
    b.box((0.1, 0.1, 0.15), b.plain(b.pick(p.wood, p.dark)), at=(0, -r, 0.15))
    b.sphere(0.08, b.plain(p.dark), at=(0, -r * 0.85, h), array=(2, h * 0.5, 2), operation="paint")
    rock = b.chance(0.6)
    b.ellipsoid((r * 1.7, r * 1.5, 0.22), b.plain(b.pick(p.metal, p.wood)), at=(0.05, 0, 0), present=rock)
    hut = b.chance(0.4)
    x = r + 0.16
    b.box((0.2, 0.2, 0.18), b.plain(p.light), at=(x, 0.05, 0.18), present=hut)
    b.box((0.24, 0.13, 0.1), cap, grow=(0, -0.9), at=(x, 0.05, 0.44), present=hut)


def windmill(b: Builder) -> None:
    """Tapering mill with a cap and four or more sails facing the front, door and gallery."""
    p = b.palette
    wall = b.pattern(b.pick(p.light, p.main, p.wood), p.second, axis=2, chance=0.4)
    r, h = b.uniform(0.32, 0.45), b.uniform(0.45, 0.65)
    top = r * b.uniform(0.55, 0.8)
    b.cylinder(r, h, wall, top=top, at=(0, 0, h))
    cap = b.plain(b.pick(p.accent, p.dark, p.wood))
    dome = b.chance(0.5)
    b.ellipsoid((top * 1.08, top * 1.08, top * 0.8), cap, at=(0, 0, 2 * h), present=dome)
    b.cylinder(top * 1.15, 0.16, cap, top=0.04, at=(0, 0, 2 * h + 0.15), present=~dome)
    z, y = 2 * h + 0.03, -top - 0.12
    b.limb((0, 0, z), (0, y - 0.05, z), 0.08, b.plain(p.dark), flat=True)
    n, length, turn = b.integer(4, 6), b.uniform(0.5, 0.68), b.uniform(0, 90)
    sail = b.pattern(b.pick(p.light, p.accent, p.wood), b.pick(p.wood, p.main), axis=0, chance=0.5, period=(0.15, 0.3))
    for index in range(6):
        angle = (turn + 360.0 * index / n).deg2rad()
        s, c = angle.sin(), angle.cos()
        half = length / 2
        b.box(
            (half, 0.04, b.uniform(0.09, 0.13)),
            sail,
            rounding=0.02,
            rotate=(0, -(turn + 360.0 * index / n), 0),
            at=(c * half, y, z + s * half),
            present=n > index,
        )
    b.box((0.11, 0.1, 0.18), b.plain(b.pick(p.wood, p.accent)), at=(0, -r * 0.95, 0.18))
    b.sphere(0.09, b.plain(p.glass, 0.8), at=(0, -r * 0.85, h * 1.05), operation="paint")
    b.cylinder(r * 1.3, 0.06, b.plain(b.pick(p.wood, p.leaf)), at=(0, 0, b.uniform(0.0, 0.3)), present=b.chance(0.5))


def church(b: Builder) -> None:
    """Nave with a roof, front door and rows of windows; tower before it, beside it or on it, or twin towers."""
    p = b.palette
    wall = b.pattern(
        b.pick(p.light, p.metal, p.wood, p.main), p.light, axis=2, chance=0.3, kinds=(1, 2), period=(0.15, 0.3)
    )
    roof = b.pattern(
        b.pick(p.accent, p.dark, p.second, p.wood), p.dark, axis=2, chance=0.3, kinds=(1,), period=(0.15, 0.25)
    )
    w, d, h = b.uniform(0.28, 0.44), b.uniform(0.45, 0.85), b.uniform(0.22, 0.42)
    b.box((w, d, h), wall, at=(0, 0, h))
    pitch = b.uniform(0.16, 0.36)
    b.box(((w + 0.07) * 0.52, d + 0.05, pitch), roof, rounding=0.02, grow=(-0.94, 0), at=(0, 0, 2 * h + pitch - 0.03))
    wing = b.chance(0.3)
    b.box((w + b.uniform(0.15, 0.3), d * 0.28, h * 0.85), wall, at=(0, d * 0.35, h * 0.85), present=wing)
    b.box(
        (w + b.uniform(0.15, 0.3), d * 0.17, 0.14), roof, grow=(0, -0.9), at=(0, d * 0.35, h * 1.7 + 0.12), present=wing
    )
    b.cylinder(w * 0.75, h * 0.85, wall, at=(0, d, h * 0.85), present=b.chance(0.4))
    glass = b.plain(b.pick(p.glass, p.accent, p.dark), 0.9)
    n = b.integer(2, 4)
    b.box((w * 3, 0.055, h * 0.34), glass, at=(0, 0, h * 1.05), array=(1, d * 1.7 / n, n), operation="paint")
    b.cylinder(
        0.055, w * 3, glass, rotate=(0, 90, 0), at=(0, 0, h * 1.38), array=(1, d * 1.7 / n, n), operation="paint"
    )
    front = _church_tower(b, wall, roof, glass, size=(w, d, h), ridge=2 * h + 2 * pitch)
    door, dw, dh = b.plain(b.pick(p.wood, p.dark, p.accent)), b.uniform(0.09, 0.14), b.uniform(0.13, 0.2)
    b.box((dw, 0.06, dh), door, at=(0, front, dh))
    b.cylinder(dw, 0.06, door, rotate=(90, 0, 0), at=(0, front, 2 * dh), present=b.chance(0.7))
    b.cylinder(b.uniform(0.09, 0.14), 0.1, glass, rotate=(90, 0, 0), at=(0, front, 2 * h), operation="paint")
    b.box((w + 0.2, d + 0.3, 0.05), b.plain(b.pick(p.leaf, p.metal)), at=(0, 0, 0), present=b.chance(0.35))


def _church_tower(
    b: Builder, wall: Tensor, roof: Tensor, glass: Tensor, *, size: tuple[Tensor, Tensor, Tensor], ridge: Tensor
) -> Tensor:
    """The tower or towers of a nave of half sizes `size`, with spires or domes; the y of the wall with the door."""
    w, d, _ = size
    place = b.integer(0, 3)  # before the front, beside it, on the ridge, twins
    t = torch.where(place == 3, b.uniform(0.14, 0.18), b.uniform(0.17, 0.25))
    side = torch.where(b.chance(0.5), 1.0, -1.0) * (w + t * 0.6)
    x = torch.where(place == 1, side, 0.0)
    y = torch.where(place == 0, -d - t * 0.6, torch.where(place == 2, -d * 0.4, -d + t * b.uniform(0.6, 1.0)))
    top = torch.where(place == 2, ridge + b.uniform(0.05, 0.25), ridge + b.uniform(0.0, 0.5))
    twins = (0, 2 * w, torch.where(place == 3, 2.0, 1.0))
    round_tower, style = b.chance(0.25), b.integer(0, 2)
    b.box((t, t, top / 2), wall, at=(x, y, top / 2), array=twins, present=~round_tower)
    b.cylinder(t, top / 2, wall, at=(x, y, top / 2), array=twins, present=round_tower)
    b.box((0.06, t * 2, 0.1), glass, at=(x, y, top - 0.2), array=twins, operation="paint")
    b.box((t * 2, 0.06, 0.1), glass, at=(x, y, top - 0.2), operation="paint", present=place != 3)
    spire = b.uniform(0.16, 0.42)
    b.box((t * 0.6, t * 0.6, spire), roof, rounding=0.02, grow=(-0.9, -0.9), at=(x, y, top + spire - 0.03),
          array=twins, present=(style == 0) & ~round_tower)  # fmt: skip
    b.cylinder(t * 1.1, spire, roof, top=0.04, at=(x, y, top + spire - 0.03), array=twins,
               present=(style == 0) & round_tower)  # fmt: skip
    b.ellipsoid((t * 1.1, t * 1.1, t * b.uniform(0.9, 1.4)), roof, at=(x, y, top + 0.05), array=twins,
                present=style == 1)  # fmt: skip
    b.box((t * 1.12, t * 0.6, 0.13), roof, grow=(0, -0.9), at=(x, y, top + 0.1), array=twins, present=style == 2)
    peak = top + torch.where(style == 0, 2 * spire, torch.where(style == 1, t * 1.1, 0.2))
    cross = b.plain(b.pick(b.palette.metal, b.palette.dark), 0.8)
    bare = b.chance(0.25)
    b.box((0.055, 0.055, 0.17), cross, rounding=0.01, at=(x, y, peak + 0.05), array=twins, present=~bare)
    b.box((0.13, 0.055, 0.05), cross, rounding=0.01, at=(x, y, peak + 0.09), array=twins, present=~bare & (place != 3))
    return torch.where(place == 0, y - t, -d)
