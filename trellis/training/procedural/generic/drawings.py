"""Drawings given a body: outlines cut out of a board, outlines inflated like cushions, and thick lines."""

import math

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import any_color, coat, contrasting

_ROWS = 7
_STROKES = 7


def _outline(b: Builder) -> tuple[Tensor, Tensor]:
    """Left and right side [_ROWS + 1, B] of an outline from below; symmetric in half of the objects."""
    symmetric, wave = b.chance(0.5), b.uniform(0.4, 1.6)
    sides = []
    for _ in range(2):
        phase, swing, rough = b.uniform(0, 2 * math.pi), b.uniform(0.1, 0.6), b.uniform(0.0, 0.35)
        rows = [
            0.6 * (1 + swing * (2 * math.pi * wave * i / _ROWS + phase).sin() + rough * b.uniform(-1, 1))
            for i in range(_ROWS + 1)
        ]
        sides.append(torch.stack(rows).clamp_min(0.12))
    pointed, flat = b.chance(0.35), b.chance(0.5)
    right = sides[0]
    left = torch.where(symmetric, right, sides[1])
    ends = torch.ones(_ROWS + 1, b.count)
    ends[-1], ends[0] = torch.where(pointed, 0.1, 1.0), torch.where(flat, 1.0, 0.25)
    return -left * ends, right * ends


def _eyes(b: Builder, depth: Tensor, x: Tensor, z: Tensor, size: Tensor) -> None:
    """Two painted spots with darker ones within, on both sides of the middle, seen from the front."""
    present = b.chance(0.4)
    for scale, color in ((1.0, b.palette.light), (0.45, b.palette.dark)):
        half = (size * scale, depth + 0.1, size * scale)
        material = b.plain(color, 0.5)
        b.ellipsoid(half, material, at=(x, -depth, z), mirror="x", present=present, operation="paint")


def cutout(b: Builder) -> None:
    """An outline sawn out of a board, with holes, arms, painted eyes and a band."""
    left, right = _outline(b)
    coats, depth = [coat(b), coat(b)], b.uniform(0.05, 0.45)
    half, banded = b.uniform(0.6, 1.3) / _ROWS, b.chance(0.3)
    for row in range(_ROWS):
        low, high = (right[row] - left[row]) / 2, (right[row + 1] - left[row + 1]) / 2
        middle = (low + high) / 2
        centres = [(right[row + i] + left[row + i]) / 2 for i in (0, 1)]
        material = torch.where((banded & (torch.tensor(row) % 3 == 1))[:, None], coats[1], coats[0])
        b.box(
            (middle, depth, half * 1.02), material, rounding=0.015, grow=((high - middle) / middle, 0.0),
            shear=((centres[1] - centres[0]) / 2, 0.0), at=((centres[0] + centres[1]) / 2, 0, (2 * row + 1) * half),
            blend=0.03,
        )  # fmt: skip
    height = 2 * half * _ROWS
    for mirror, present in (("x", b.chance(0.4)), ("", b.chance(0.3))):
        length, width, angle = b.uniform(0.2, 0.6), b.uniform(0.07, 0.16), b.uniform(-70, 70)
        at = (0.55 + 0.4 * length, 0, height * b.uniform(0.15, 0.9))
        b.box((length, depth * 0.9, width), coats[1], rounding=0.04, at=at, rotate=(0, angle, 0), mirror=mirror,
              present=present)  # fmt: skip
    for _ in range(2):
        at, turn = (b.uniform(-0.3, 0.3), 0, height * b.uniform(0.2, 0.8)), (90.0, 0.0, 0.0)
        b.cylinder(b.uniform(0.08, 0.2), depth + 0.3, coats[1], at=at, rotate=turn, present=b.chance(0.25),
                   operation="subtract")  # fmt: skip
    _eyes(b, depth, b.uniform(0.12, 0.25), height * b.uniform(0.6, 0.85), b.uniform(0.07, 0.13))


def cushion(b: Builder) -> None:
    """An outline inflated: swellings along a bent middle line that flow into each other, and soft limbs."""
    coats, flat, bend = [coat(b), coat(b, chance=0.2)], b.uniform(0.35, 1.1), b.uniform(-0.5, 0.5)
    left, right = _outline(b)
    soft, step, count = b.uniform(0.05, 0.2), b.uniform(0.16, 0.38), b.integer(2, 6)
    for index in range(6):
        width = (right[index] - left[index]) / 2 * 0.9
        place = index / 3 - 1
        at = ((right[index] + left[index]) / 2 + bend * place * place, 0, index * step)
        b.ellipsoid((width, width * flat, (step * 0.95).clamp_min(width * 0.6)), coats[0], at=at, blend=soft,
                    present=count > index)  # fmt: skip
    top = (count - 1) * step
    for _ in range(2):
        start, reach = top * b.uniform(0.0, 1.0), b.uniform(0.5, 1.1)
        end = (reach, b.uniform(-0.4, 0.4), start + b.uniform(-0.5, 0.7))
        b.limb((0.3, 0, start), end, b.uniform(0.1, 0.2), torch.where(b.chance(0.5)[:, None], coats[0], coats[1]),
               end_radius=b.uniform(0.05, 0.2), mirror="x", present=b.chance(0.5), blend=0.05)  # fmt: skip
    b.limb((0, 0.2, 0), (b.uniform(-0.5, 0.5), b.uniform(0.6, 1.2), b.uniform(-0.2, 0.8)), 0.12, coats[1],
           end_radius=0.05, present=b.chance(0.25), blend=0.05)  # fmt: skip
    _eyes(b, flat * 0.5, b.uniform(0.12, 0.25), top, b.uniform(0.08, 0.15))
    b.sphere(b.uniform(0.08, 0.15), coats[1], at=(0, -flat * 0.5, top - 0.15), present=b.chance(0.2))


def _strokes(b: Builder, mirror: str) -> None:
    """A path of flat thick lines in the plane of the picture that turns this way or that."""
    depth, width, count = b.uniform(0.06, 0.3), b.uniform(0.06, 0.16), b.integer(4, _STROKES)
    heading, turn = b.uniform(-0.6, math.pi + 0.6), b.uniform(-1.2, 1.2)
    x, z = torch.zeros(b.count), torch.zeros(b.count)  # in the middle, so that both halves hang together
    color = any_color(b)
    coats, ends = [b.plain(color), coat(b, chance=0.7)], b.uniform(0.15, 0.35)
    ringed = b.chance(0.3)
    material = torch.where(b.chance(0.5)[:, None], coats[0], coats[1])
    for index in range(_STROKES):
        length = b.uniform(0.12, 0.35)
        dx, dz = heading.cos() * length, heading.sin() * length
        if mirror:
            dx = torch.where(x + 2 * dx < 0.05, dx.abs(), dx)
        half = (length + width * 0.6, depth, width)
        place = (x + dx, 0, z + dz)
        turned = -torch.atan2(dz, dx).rad2deg()
        b.box(half, material, rounding=0.05, at=place, rotate=(0, turned, 0), mirror=mirror, present=count > index,
              blend=0.02)  # fmt: skip
        x, z = torch.where(count > index, x + 2 * dx, x), torch.where(count > index, z + 2 * dz, z)
        heading = heading + turn + b.uniform(-0.6, 0.6)
    b.cylinder(ends, depth * 0.9, coats[1], at=(x, 0, z), rotate=(90, 0, 0), mirror=mirror, present=ringed)
    spot = contrasting(b, color)
    b.sphere(ends, b.plain(spot), at=(x, -depth, z), mirror=mirror, operation="paint", present=b.chance(0.5))
    b.box((0.5, depth + 0.1, 0.06), coats[1], at=(0, 0, -0.1), present=b.chance(0.4))


def doodle(b: Builder) -> None:
    """One thick line that wanders."""
    _strokes(b, "")


def emblem(b: Builder) -> None:
    """A thick line and its mirror image."""
    _strokes(b, "x")
