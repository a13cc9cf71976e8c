"""Colours of what a picture does not see, changed like those of what it sees."""

import torch
from torch import Tensor

# Widths of the kernel: in colour (RGB in [0, 1]) and in place (world units, loose: the other side still counts).
COLOR_WIDTH, PLACE_WIDTH = 0.09, 0.4
# Sides of the cells whose samples become one anchor.
COLOR_CELL, PLACE_CELL = 1 / 12, 1 / 3
MAX_ANCHORS = 384
# Share of the surface, at the kernel's centre, from which on half the change is carried over.
EVIDENCE = 0.002
# Sums of integers do not depend on the order of their terms, which a GPU does not keep.
FIXED_POINT = 1 << 24
_PIECE = 65536


def transferred(colors: Tensor, points: Tensor, *, seen: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`colors` [N, 3] at `points` [N, 3], each changed as the seen ones of like colour and place are.

    seen [M] are rows of `colors` whose right colour `target` [M, 3] is known with `weight` [M] in [0, 1]. The change is
    a kernel regression (Nadaraya-Watson, Gaussian in colour and place) of target - colour over colour and place; it
    fades to nothing for colours that are seen nowhere. A uniform error of hue or light is so undone all around, and a
    correct asset is left alone.
    """
    keys = torch.cat([colors / COLOR_WIDTH, points / PLACE_WIDTH], 1)
    anchors, change, mass = _anchors(colors[seen], points[seen], keys[seen], target - colors[seen], weight)
    if len(anchors) == 0:
        return colors
    mass = mass / len(colors)
    moved = [_regressed(part, anchors, change, mass) for part in keys.split(_PIECE)]
    return (colors + torch.cat(moved)).clamp(0, 1)


def _anchors(
    colors: Tensor, points: Tensor, keys: Tensor, change: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Means of the samples of a cell: key [A, 6], change [A, 3]; and the weight [A] of its samples. Heaviest first."""
    cells = torch.cat([colors / COLOR_CELL, points / PLACE_CELL], 1).floor().long()
    _, cell = torch.unique(cells, dim=0, return_inverse=True)
    count = int(cell.max()) + 1 if len(cell) else 0
    mass = _sums(weight, cell, count)
    # A column at a time: integers are twice as large as the numbers.
    columns = torch.cat([keys, change], 1).unbind(1)
    sums = torch.stack([_sums(weight * column, cell, count) for column in columns], 1)
    kept = mass.argsort(descending=True, stable=True)[:MAX_ANCHORS]
    kept = kept[mass[kept] > 0]
    means = sums[kept] / mass[kept, None]
    return means[:, :6], means[:, 6:], mass[kept]


def _sums(values: Tensor, cell: Tensor, count: int) -> Tensor:
    """Sums [count] of `values` [n] by their cell [n], the same bits in any order."""
    whole = (values * FIXED_POINT).round().long()
    return whole.new_zeros(count).index_add_(0, cell, whole) / FIXED_POINT


def _regressed(keys: Tensor, anchors: Tensor, change: Tensor, mass: Tensor) -> Tensor:
    near = torch.exp(-0.5 * torch.cdist(keys, anchors).square()) * mass
    return near @ change / (near.sum(1, keepdim=True) + EVIDENCE)
