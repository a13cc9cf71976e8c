"""Harmonious colours and simple patterns, drawn a whole batch at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.training.procedural.draws import Draws

SOLID, STRIPES, CHECKS, TWO_TONE, GRADIENT, DOTS = range(6)
MATERIAL_SIZE = 13  # colour 3, second colour 3, pattern, axis 3, frequency, phase, gloss

_WOODS = torch.tensor(
    [[0.55, 0.36, 0.20], [0.70, 0.50, 0.30], [0.40, 0.25, 0.15], [0.80, 0.62, 0.42], [0.32, 0.20, 0.13]]
)
_METALS = torch.tensor(
    [[0.72, 0.74, 0.77], [0.55, 0.57, 0.60], [0.80, 0.66, 0.32], [0.42, 0.44, 0.47], [0.72, 0.48, 0.34]]
)
_DARKS = torch.tensor([[0.12, 0.12, 0.14], [0.20, 0.17, 0.16], [0.13, 0.16, 0.22], [0.25, 0.25, 0.27]])
_LIGHTS = torch.tensor([[0.95, 0.94, 0.91], [0.90, 0.91, 0.93], [0.96, 0.92, 0.82], [0.86, 0.86, 0.86]])
_LEAVES = torch.tensor(
    [[0.25, 0.52, 0.20], [0.36, 0.62, 0.24], [0.16, 0.40, 0.22], [0.55, 0.64, 0.22], [0.78, 0.48, 0.16]]
)
_GLASS = torch.tensor([[0.55, 0.75, 0.86], [0.35, 0.50, 0.62], [0.20, 0.28, 0.36], [0.95, 0.86, 0.52]])
# Hue steps of complementary, analogous, triadic and split schemes.
_SCHEMES = torch.tensor([[0.5, 0.08], [0.08, 0.92], [0.333, 0.667], [0.42, 0.58], [0.02, 0.5]])


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB [B, 3] from hue, saturation and value [B], all in [0, 1] (hue wraps)."""
    shift = torch.tensor([1.0, 2 / 3, 1 / 3])
    ramp = ((hue[:, None] + shift).remainder(1.0) * 6 - 3).abs() - 1
    return value[:, None] * (1 + saturation[:, None] * (ramp.clamp(0, 1) - 1))


@dataclass(frozen=True)
class Palette:
    """Colours [B, 3] of one object each: three that go together and the usual naturals."""

    main: Tensor
    second: Tensor
    accent: Tensor
    wood: Tensor
    metal: Tensor
    dark: Tensor
    light: Tensor
    leaf: Tensor
    glass: Tensor


def draw_palette(draws: Draws) -> Palette:
    """Draw one palette an object."""
    hue = draws.unit()
    steps = draws.choose(_SCHEMES)
    muted = draws.chance(0.3)
    saturation = torch.where(muted, draws.uniform(0.15, 0.45), draws.uniform(0.55, 0.95))
    value = draws.uniform(0.55, 0.97)
    second_value = (value + draws.choose(torch.tensor([-0.3, 0.25, 0.1]))).clamp(0.3, 0.97)
    naturals = (_WOODS, _METALS, _DARKS, _LIGHTS, _LEAVES, _GLASS)
    wood, metal, dark, light, leaf, glass = (_vary(draws, table) for table in naturals)
    return Palette(
        main=hsv_to_rgb(hue, saturation, value),
        second=hsv_to_rgb(hue + steps[:, 0], saturation * draws.uniform(0.4, 1.0), second_value),
        accent=hsv_to_rgb(hue + steps[:, 1], draws.uniform(0.6, 0.95), draws.uniform(0.7, 0.97)),
        wood=wood,
        metal=metal,
        dark=dark,
        light=light,
        leaf=leaf,
        glass=glass,
    )


def _vary(draws: Draws, table: Tensor) -> Tensor:
    return (draws.choose(table) * draws.uniform(0.88, 1.1)[:, None]).clamp(0.02, 0.98)


def solid(color: Tensor, *, gloss: float | Tensor = 0.2) -> Tensor:
    """Material rows [B, MATERIAL_SIZE] of one plain colour [B, 3]."""
    material = torch.zeros(color.shape[0], MATERIAL_SIZE)
    material[:, 0:3] = color
    material[:, 3:6] = color
    material[:, 9] = 1.0
    material[:, 12] = gloss
    return material


def patterned(
    draws: Draws,
    color: Tensor,
    second: Tensor,
    *,
    kinds: tuple[int, ...] = (STRIPES, CHECKS, TWO_TONE, GRADIENT, DOTS),
    axis: int | None = 2,
    chance: float = 0.5,
    period: tuple[float | Tensor, float | Tensor] = (0.3, 0.7),
    gloss: float = 0.2,
) -> Tensor:
    """Material rows that carry one of `kinds` with probability `chance`, else plain `color`.

    `axis` is the local axis that stripes and gradients follow (None: drawn); `period` is in design units.
    """
    material = solid(color, gloss=gloss)
    count = color.shape[0]
    kind = draws.choose(torch.tensor(kinds, dtype=torch.float32))
    material[:, 6] = torch.where(draws.chance(chance), kind, torch.zeros(()))
    material[:, 3:6] = second
    rows = draws.choose(torch.eye(3))
    material[:, 7:10] = rows if axis is None else torch.eye(3)[axis].expand(count, 3)
    material[:, 10] = 1 / draws.uniform(*period)
    material[:, 11] = torch.where(kind == TWO_TONE, draws.uniform(-0.3, 0.3), draws.uniform(0, 1))
    return material


def pattern_color(material: Tensor, local: Tensor) -> Tensor:
    """Colour [..., 3] at part-local points [..., 3] of material rows [..., MATERIAL_SIZE]."""
    kind, axis = material[..., 6], material[..., 7:10]
    frequency, phase = material[..., 10], material[..., 11]
    t = (local * axis).sum(-1) * frequency
    stripes = ((t + phase).remainder(1.0) < 0.5).to(t.dtype)
    cells = local * frequency[..., None] + phase[..., None]
    checks = cells.floor().sum(-1).remainder(2.0)
    two_tone = (t + phase > 0).to(t.dtype)
    gradient = (0.5 * t + 0.5).clamp(0, 1)
    offsets = cells - cells.round()
    dots = ((offsets * offsets).sum(-1) < 0.11).to(t.dtype)
    mix = torch.zeros_like(t)
    for index, value in (
        (STRIPES, stripes),
        (CHECKS, checks),
        (TWO_TONE, two_tone),
        (GRADIENT, gradient),
        (DOTS, dots),
    ):
        mix = torch.where(kind == index, value, mix)
    return material[..., 0:3] + (material[..., 3:6] - material[..., 0:3]) * mix[..., None]
