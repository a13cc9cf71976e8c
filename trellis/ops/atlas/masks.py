"""The cells of a grid that charts touch, with a margin, as runs a row."""

from dataclasses import dataclass

import numpy as np

from trellis.ops.atlas.topology import Bools, Floats, Ints

SAMPLE = 0.5  # cells between the samples of a border
SLACK = 0.25  # no point of a border is farther from a sample


@dataclass(frozen=True)
class Mask:
    """Cells of one chart: filled [height, width]; runs [k, 3] = row, first column, length, the longest run first."""

    filled: Bools
    runs: Ints

    @property
    def width(self) -> int:
        return self.filled.shape[1]

    @property
    def height(self) -> int:
        return self.filled.shape[0]

    def turns(self) -> list["Mask"]:
        """The mask after 0, 1, 2 and 3 turns by 90 degrees counter-clockwise (rows are y, upward)."""
        # (x, y) -> (height - y, x)
        return [self, *(mask_of(np.rot90(self.filled, -quarter)) for quarter in (1, 2, 3))]


def mask_of(filled: Bools) -> Mask:
    """The runs of booleans [height, width]."""
    height, width = filled.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = filled
    change = np.diff(padded, axis=1)
    row, first = np.nonzero(change == 1)
    _, last = np.nonzero(change == -1)
    runs = np.stack([row, first, last - first], axis=1)
    return Mask(filled, runs[np.argsort(-runs[:, 2], kind="stable")])


def draw_masks(start: Floats, end: Floats, chart: Ints, sizes: Ints, *, reach: float) -> list[Mask]:
    """One mask a chart: all cells nearer than `reach` cells to the area within its border, sampled.

    start, end [m, 2] are the border sides in cells, chart [m] their charts; sizes [c, 2] the width and height of each
    grid, which must hold the border and the reach.
    """
    width, height = sizes.T
    first = np.cumsum(width * height) - width * height
    total = int((width * height).sum())
    inside = _even_odd(start, end, chart, width, first, total)
    inside |= _near(start, end, chart, sizes, first, total, reach)
    return [
        mask_of(inside[begin : begin + w * h].reshape(h, w))
        for begin, w, h in zip(first.tolist(), width.tolist(), height.tolist())
    ]


def _even_odd(start: Floats, end: Floats, chart: Ints, width: Ints, first: Ints, total: int) -> Bools:
    """Cells [total] whose centre a border surrounds: every row counts the sides it has crossed."""
    low = np.minimum(start[:, 1], end[:, 1])
    high = np.maximum(start[:, 1], end[:, 1])
    row = np.ceil(low - 0.5).astype(np.int64)  # centres at row + 0.5 in [low, high)
    count = np.ceil(high - 0.5).astype(np.int64) - row
    side = np.repeat(np.arange(len(start)), count)
    row = row[side] + np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count)
    t = (row + 0.5 - start[side, 1]) / (end[side, 1] - start[side, 1])
    x = start[side, 0] + t * (end[side, 0] - start[side, 0])
    column = np.ceil(x - 0.5).astype(np.int64)
    toggles = np.bincount(first[chart[side]] + row * width[chart[side]] + column, minlength=total + 1)[:total]
    return (np.cumsum(toggles) & 1).astype(bool)


def _near(start: Floats, end: Floats, chart: Ints, sizes: Ints, first: Ints, total: int, reach: float) -> Bools:
    """Cells [total] within `reach` cells of samples of the border."""
    count = np.maximum(np.ceil(np.linalg.norm(end - start, axis=1) / SAMPLE).astype(np.int64), 1)
    side = np.repeat(np.arange(len(start)), count)
    t = (np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[side]
    points = start[side] + t[:, None] * (end[side] - start[side])
    owner = chart[side]
    cell = np.floor(points).astype(np.int64)
    result = np.zeros(total, dtype=bool)
    span = int(np.ceil(reach))
    for dx in range(-span, span + 1):
        for dy in range(-span, span + 1):
            target = cell + np.array([dx, dy])
            # From the sample to the nearest point of the cell.
            away = np.maximum(np.maximum(target - points, points - target - 1), 0)
            hit = np.square(away).sum(axis=1) < reach**2
            hit &= (target >= 0).all(axis=1) & (target < sizes[owner]).all(axis=1)
            place = target[hit]
            result[first[owner[hit]] + place[:, 1] * sizes[owner[hit], 0] + place[:, 0]] = True
    return result
