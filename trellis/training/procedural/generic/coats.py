"""Colours of the generic programs: anything from the palette, plain or with a coarse or fine pattern."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.palettes import CHECKS, DOTS, GRADIENT, STRIPES, TWO_TONE

KINDS = (STRIPES, CHECKS, TWO_TONE, GRADIENT, DOTS)
_PERIODS = torch.tensor([0.14, 0.2, 0.3, 0.5])  # in design units; a voxel is about 0.065


def any_color(b: Builder) -> Tensor:
    """One colour [B, 3] of the object's palette."""
    p = b.palette
    return b.pick(p.main, p.main, p.second, p.accent, p.wood, p.metal, p.dark, p.light)


def coat(b: Builder, *, chance: float = 0.4, kinds: tuple[int, ...] = KINDS) -> Tensor:
    """Material rows: a colour and, with probability `chance`, a pattern in another one that differs clearly."""
    color = any_color(b)
    other = contrasting(b, color)
    least = b.draws.choose(_PERIODS)
    return b.pattern(color, other, axis=None, chance=chance, period=(least, 1.5 * least), kinds=kinds)


def contrasting(b: Builder, color: Tensor) -> Tensor:
    """A colour of the palette [B, 3], or the light or dark one where that would hardly be seen on `color`."""
    p = b.palette
    other = b.pick(p.second, p.accent, p.light, p.dark)
    close = (other - color).abs().amax(-1, keepdim=True) < 0.35
    bright = color.mean(-1, keepdim=True) > 0.5
    return torch.where(close, torch.where(bright, p.dark, p.light), other)


def one_of(b: Builder, count: int) -> list[Tensor]:
    """Masks [B] of which exactly one is true for each object: which of `count` kinds it is."""
    kind = b.integer(0, count - 1)
    return [kind == index for index in range(count)]
