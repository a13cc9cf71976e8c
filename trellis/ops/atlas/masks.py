"""The cells of a grid that charts touch, with a margin, as runs a row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trellis.ops.atlas.topology import Bools, Floats, Ints

SAMPLE = 0.5  # cells between the samples of a border
SLACK = 0.25  # no point of a border is farther from a sample
GOLDEN = 0.618034  # multiples of it, less the whole, lie far apart
TOLERANCE = 1e-9  # square cells: rounding must not reach out of a picture


@dataclass(frozen=True)
class Mask:
    """Cells of one chart: filled [height, width]; runs [k, 3] = row, first column, length.

    The longest run comes first, then rows far apart take turns: a place that is taken shows early.
    """

    filled: Bools
    runs: Ints

    @property
    def width(self) -> int:
        return self.filled.shape[1]

    @property
    def height(self) -> int:
        return self.filled.shape[0]


def masks_of(pictures: Sequence[Bools]) -> list[Mask]:
    """The runs of every picture [height, width]."""
    height = np.array([picture.shape[0] for picture in pictures])
    width = np.repeat([picture.shape[1] for picture in pictures], height)  # of every row
    first_row = np.cumsum(height) - height
    begin_row = np.cumsum(width) - width
    filled = np.concatenate([picture.reshape(-1) for picture in pictures])
    begins, ends = filled.copy(), filled.copy()
    begins[1:] &= ~filled[:-1]
    begins[begin_row] = filled[begin_row]
    ends[:-1] &= ~filled[1:]
    ends[begin_row + width - 1] = filled[begin_row + width - 1]
    begin = np.flatnonzero(begins)
    length = np.flatnonzero(ends) - begin + 1
    row = np.searchsorted(begin_row, begin, side="right") - 1
    owner = np.repeat(np.arange(len(pictures)), height)[row]
    runs = np.stack([row - first_row[owner], begin - begin_row[row], length], axis=1)
    begin_run = np.searchsorted(owner, np.arange(len(pictures)))
    rank = np.arange(len(runs)) * GOLDEN % 1
    rank[np.lexsort((-length, owner))[begin_run]] = -1
    parts = np.split(runs[np.lexsort((rank, owner))], begin_run[1:])
    return [Mask(picture, part) for picture, part in zip(pictures, parts)]


def turned(pictures: Sequence[Bools], quarter: int) -> list[Bools]:
    """Pictures after `quarter` turns by 90 degrees counter-clockwise; rows are y, upward."""
    # (x, y) -> (height - y, x)
    return [np.rot90(picture, -quarter) for picture in pictures]


def draw_charts(start: Floats, end: Floats, chart: Ints, sizes: Ints, *, reach: float) -> list[Bools]:
    """One picture [height, width] a chart: all cells nearer than `reach` cells to the area within its border, sampled.

    start, end [m, 2] are the border sides in cells, chart [m] their charts; sizes [c, 2] the width and height of each
    grid, which must hold the border and the reach.
    """
    width, height = sizes.T
    first = np.cumsum(width * height) - width * height
    total = int((width * height).sum())
    inside = _even_odd(start, end, chart, width, first, total)
    inside |= _near(start, end, chart, sizes, first, total, reach)
    return [
        inside[begin : begin + w * h].reshape(h, w)
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
    cell = np.floor(points).astype(np.int64)
    width = sizes[chart[side], 0]
    place = first[chart[side]] + cell[:, 1] * width + cell[:, 0]
    span = int(np.ceil(reach))
    steps = range(-span, span + 1)
    # From the sample to the nearest point of the cells beside it, squared.
    x, y = (points - cell).T
    away_x, away_y = ([np.square(np.maximum(np.maximum(k - t, t - k - 1), 0)) for k in steps] for t in (x, y))
    result = np.zeros(total, dtype=bool)
    for i, dx in enumerate(steps):
        for j, dy in enumerate(steps):
            hit = np.flatnonzero(away_x[i] + away_y[j] < reach**2 - TOLERANCE)
            result[place[hit] + dy * width[hit] + dx] = True
    return result
