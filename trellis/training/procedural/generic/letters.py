"""Letters, digits and simple signs: standing by themselves, three in a row, on boards and on toy blocks."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import any_color, coat, contrasting, one_of

# Straight strokes x0 y0 x1 y1 on a grid of 4 x 6.
_GLYPHS = {
    "A": "0026 2640 1232", "B": "0006 0636 3645 4533 0333 3341 4130 0030", "C": "4536 3616 1605 0501 0110 1030 3041",
    "D": "0006 0626 2644 4442 4220 0020", "E": "0006 0646 0333 0040", "F": "0006 0646 0333",
    "G": "4536 3616 1605 0501 0110 1040 4043 4323", "H": "0006 4046 0343", "I": "2026 1030 1636",
    "J": "3631 3120 2010 1001", "K": "0006 0246 1340", "L": "0006 0040", "M": "0006 0623 2346 4640",
    "N": "0006 0640 4046", "O": "1030 3041 4145 4536 3616 1605 0501 0110", "P": "0006 0636 3645 4544 4433 3303",
    "Q": "0105 0526 2645 4541 4120 2001 2240", "R": "0006 0636 3645 4544 4433 3303 2340",
    "S": "4536 3616 1604 0442 4230 3010 1001", "T": "2026 0646", "U": "0601 0110 1030 3041 4146", "V": "0620 2046",
    "W": "0610 1023 2330 3046", "X": "0046 0640", "Y": "0623 4623 2320", "Z": "0646 4600 0040",
    "1": "2026 2614 1030", "2": "0516 1636 3645 4544 4400 0040", "3": "0646 4623 2333 3341 4130 3010 1001",
    "4": "3036 3602 0242", "5": "4606 0603 0333 3342 4230 3000", "6": "4603 0301 0110 1030 3041 4133 3303",
    "7": "0646 4610", "8": "2345 4526 2605 0523 2341 4120 2001 0123", "9": "0043 4345 4536 3616 1605 0513 1343",
    "plus": "2125 0343", "heart": "2004 0416 1625 2536 3644 4420", "arrow": "0343 2543 2143",
    "star": "1026 2630 3004 0444 4410", "house": "0040 4043 4326 2603 0300", "bolt": "3613 1333 3310",
}  # fmt: skip
_MOST = 8  # strokes of a glyph


def _table() -> Tensor:
    """[K, _MOST, 5]: both ends of a stroke, about the glyph's middle, its height 1; and whether it is there."""
    table = torch.zeros(len(_GLYPHS), _MOST, 5)
    for row, glyph in zip(table, _GLYPHS.values()):
        for stroke, digits in zip(row, glyph.split()):
            x0, y0, x1, y1 = (int(digit) for digit in digits)
            stroke[:] = torch.tensor([x0 / 6 - 1 / 3, y0 / 6 - 0.5, x1 / 6 - 1 / 3, y1 / 6 - 0.5, 1.0])
    return table


def glyph(
    b: Builder, at: tuple[Tensor, Tensor, Tensor], *, height: Tensor, width: Tensor, depth: Tensor, material: Tensor,
    present: Tensor, operation: str = "union", side: bool = False
) -> None:  # fmt: skip
    """A random sign of strokes 2 x `width` thick and 2 x `depth` deep, facing the front (`side`: the right)."""
    strokes = b.draws.choose(_table())
    stretch = b.uniform(0.8, 1.1)
    for stroke in strokes.unbind(1):
        x0, z0, x1, z1, there = stroke.unbind(-1)
        dx, dz = (x1 - x0) * height * stretch, (z1 - z0) * height
        length = (dx * dx + dz * dz).sqrt()
        across, up = (x0 + x1) / 2 * height * stretch, (z0 + z1) / 2 * height
        angle = -torch.atan2(dz, dx).rad2deg()
        place = (at[0], at[1] + across, at[2] + up) if side else (at[0] + across, at[1], at[2] + up)
        turn = (0, angle, torch.full_like(angle, 90.0)) if side else (0, angle, 0)
        b.box((length / 2 + width, depth, width), material, rounding=0.015, at=place, rotate=turn,
              present=present & (there > 0), operation=operation)  # fmt: skip


def _number(b: Builder, value: float) -> Tensor:
    return torch.full((b.count,), value)


def letter(b: Builder) -> None:
    """One sign, standing or on a foot, with a hole or a second colour."""
    width, depth = b.uniform(0.08, 0.17), b.uniform(0.06, 0.35)
    zero = _number(b, 0.0)
    body, foot = coat(b), coat(b)
    glyph(b, (zero, zero, zero), height=_number(b, 1.7), width=width, depth=depth, material=body, present=zero == 0)
    b.box((0.75, depth + 0.15, 0.07), foot, at=(0, 0, -0.9 - width), present=b.chance(0.3))
    b.cylinder(0.8, 0.06, foot, at=(0, 0, -0.9 - width), present=b.chance(0.15))
    b.box((2, depth + 0.2, b.uniform(0.1, 0.4)), foot, at=(0, 0, -0.6), present=b.chance(0.2), operation="paint")


def word(b: Builder) -> None:
    """Three signs in a row on a bar, or before a board."""
    width, depth, zero = b.uniform(0.05, 0.1), b.uniform(0.06, 0.2), _number(b, 0.0)
    high, gap = b.uniform(0.7, 1.1), b.uniform(0.62, 0.75)
    base, board = one_of(b, 2)
    back = any_color(b)
    for place in (-1, 0, 1):
        color = b.pick(b.palette.main, b.palette.accent, b.palette.second)
        color = torch.where(board[:, None], contrasting(b, back), color)
        glyph(b, (zero + place * gap, zero, zero), height=high, width=width, depth=depth, material=b.plain(color),
              present=zero == 0)  # fmt: skip
    b.box((gap * 1.6, depth + 0.1, 0.07), coat(b), at=(0, 0, -high / 2 - width - 0.03), present=base)
    b.box((gap * 1.65, 0.06, high * 0.75), b.plain(back), at=(0, depth, 0), present=board)


def sign(b: Builder) -> None:
    """A round, square, tilted or three-cornered board on a post or on the ground, with a sign on it."""
    size, thick, zero = b.uniform(0.4, 0.75), b.uniform(0.04, 0.1), _number(b, 0.0)
    color = any_color(b)
    face, rim = b.plain(color), coat(b, chance=0.1)
    disc, square, tilted, three = one_of(b, 4)
    b.cylinder(size, thick, face, rotate=(90, 0, 0), rounding=0.02, present=disc)
    b.box((size * b.uniform(0.7, 1.3), thick, size), face, rounding=0.02, present=square)
    b.box((size * 0.8, thick, size * 0.8), face, rounding=0.02, rotate=(0, 45, 0), present=tilted)
    b.box((size * 0.55, thick, size * 0.95), face, rounding=0.01, grow=(-0.95, 0.0), present=three)
    b.torus(size, thick * 1.2, rim, rotate=(90, 0, 0), present=disc & b.chance(0.5))
    raised = b.chance(0.4)
    ink = b.plain(contrasting(b, color))
    high, width = size * b.uniform(0.7, 1.0), size * b.uniform(0.06, 0.11)
    place = (zero, -thick, zero - torch.where(three, size * 0.3, zero))
    glyph(b, place, height=high * torch.where(three, 0.7, 1.0), width=width, depth=thick * 0.7, material=ink,
          present=raised)  # fmt: skip
    glyph(b, place, height=high * torch.where(three, 0.7, 1.0), width=width, depth=thick * 0.7, material=ink,
          present=~raised, operation="paint")  # fmt: skip
    post, long = b.chance(0.7), b.uniform(0.4, 1.3)
    b.box((0.06, 0.05, long), rim, at=(0, thick + 0.05, -long), rounding=0.03, present=post)
    b.cylinder(b.uniform(0.2, 0.45), 0.05, rim, at=(0, thick + 0.05, -2 * long), present=post & b.chance(0.5))


def blocks(b: Builder) -> None:
    """A toy block with signs painted on its front and its right side, a second one on it."""
    size, zero = b.uniform(0.45, 0.6), _number(b, 0.0)
    second = b.chance(0.4)
    for level in range(2):
        color = any_color(b)
        present = second if level else zero == 0
        half = size * (0.7 if level else 1.0)
        x, z = (b.uniform(-0.2, 0.2) if level else zero), (size + half if level else zero)
        b.box((half, half, half), b.plain(color), rounding=b.uniform(0.03, 0.15), at=(x, 0, z), present=present)
        b.box((half * 1.1, half * 1.1, half * 1.1), coat(b), at=(x, 0, z), present=present & b.chance(0.4),
              operation="paint")  # fmt: skip
        inner, frame = half * 0.78, b.chance(0.5)
        b.box((inner, half * 1.2, inner), b.plain(color), at=(x, 0, z), present=present & frame, operation="paint")
        b.box((half * 1.2, inner, inner), b.plain(color), at=(x, 0, z), present=present & frame, operation="paint")
        ink, width = b.plain(contrasting(b, color)), half * b.uniform(0.09, 0.14)
        for side in (False, True):
            place = (x + half, zero, z) if side else (x, zero - half, z)
            glyph(b, place, height=half * 1.2, width=width, depth=half * 0.2, material=ink, present=present,
                  operation="paint", side=side)  # fmt: skip
