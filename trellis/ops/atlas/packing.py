"""Charts into a square without overlap: large ones first, each where it ends lowest, on a grid of cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.ops.atlas.masks import SLACK, Mask, draw_charts, masks_of, turned
from trellis.ops.atlas.topology import Bools, Floats, Ints

ANGLES = 32  # tried within a quarter turn for the smallest box
BAND = 24  # rows searched at once
CHECK_EVERY = 2  # runs between two looks how many places are left
FEW_PLACES = 200  # are tested one by one
LOOKBACK = 1  # heights of a mask, below the place of the last of its kind
SMALL, SMALL_TURNS = 12, 2  # cells a side at most: as good with few of the four turns
CLASSES = 3  # of sides, within a doubling
FAR = 30_000  # cells; more than a row has, and twice as many fit 16 bits
TRIALS = 3
FIRST_FILL = 0.73  # of the cells, margins included
CLOSE = 0.95  # of the height of the grid: full enough
COARSE = 0.6  # of the cells' side, for the first trial
AIM = 0.99  # of the height of the grid
RESERVE = 1.02  # of the padding, and of the height that may be squeezed for it


@dataclass(frozen=True)
class Borders:
    """Sides of the borders of charts: indices of points start, end [m]; point_chart [n], counted from 0."""

    start: Ints
    end: Ints
    point_chart: Ints

    @property
    def charts(self) -> Ints:
        """The chart of every side [m]."""
        return self.point_chart[self.start]

    @property
    def count(self) -> int:
        return int(self.point_chart.max(initial=-1)) + 1


@dataclass(frozen=True)
class _Drawing:
    """Charts on grids of their own, for a square of `cells` cells a side.

    scale: cells per unit of length; offset: cells between a chart's box and its picture's; pictures [height, width].
    """

    cells: int
    scale: float
    offset: float
    pictures: list[Bools]

    @property
    def sizes(self) -> Ints:
        """Width and height [c, 2] of the pictures."""
        return np.array([picture.shape[::-1] for picture in self.pictures])

    @property
    def area(self) -> int:
        """Cells that charts and margins cover."""
        return sum(int(np.count_nonzero(picture)) for picture in self.pictures)


@dataclass(frozen=True)
class _Plan:
    """Low corner [c, 2] and quarter turns [c] of every picture, and the rows in use."""

    drawing: _Drawing
    corners: Ints
    turns: Ints
    height: int

    @property
    def filled(self) -> float:
        """The rows in use over those of the square."""
        return self.height / self.drawing.cells

    @property
    def tightness(self) -> float:
        """Covered cells over those of the rows in use."""
        return self.drawing.area / (self.drawing.cells * self.height)


def pack(points: Floats, borders: Borders, *, size: int, padding: float, cells: int) -> Floats:
    """Places uvs [n, 2] in [0, 1] of `points` [n, 2], scaled alike, in a texture of `size` texels a side.

    Charts are at least `padding` texels apart. The scale is found by trial, first on a coarse grid, then on one of
    `cells` cells a side: what did not fit shrinks, what left room grows. Without any fit the best trial is squeezed
    into the square.
    """
    points, boxes = _upright(points, borders)
    margin = 0.5 * padding / size * RESERVE
    coarse = round(COARSE * cells)
    scale = _first_scale(points, borders, margin, coarse)
    plan = _plan(_draw(points, boxes, borders, scale=scale, margin=margin, cells=coarse))
    scale = plan.drawing.scale * cells / coarse
    best: _Plan | None = None
    for _ in range(TRIALS):
        drawing = _draw(points, boxes, borders, scale=scale, margin=margin, cells=cells)
        needed = drawing.area / plan.tightness / cells**2  # of the square, placed as tightly as last time
        scale = drawing.scale * (AIM / needed) ** 0.5
        plan = _plan(_draw(points, boxes, borders, scale=scale, margin=margin, cells=cells))
        if best is None or _rank(plan) > _rank(best):
            best = plan
        longest = plan.drawing.scale < scale  # chart, which spans the square already
        if plan.filled <= RESERVE and (plan.filled >= CLOSE or longest):
            break
    assert best is not None
    return _placed(points, borders, best) / max(best.height, cells)


def _rank(plan: _Plan) -> float:
    """How large the charts end up in the square."""
    return plan.drawing.scale / max(plan.filled, 1)


def _upright(points: Floats, borders: Borders) -> tuple[Floats, Floats]:
    """Points [n, 2] turned chart by chart into their smallest box, which begins at 0, and the boxes [c, 2]."""
    order = np.argsort(borders.charts, kind="stable")
    outline = points[borders.start[order]]
    first = np.searchsorted(borders.charts[order], np.arange(borders.count))
    least = np.full(borders.count, np.inf)
    angle = np.zeros(borders.count)
    for candidate in np.arange(ANGLES) * (0.5 * np.pi / ANGLES):
        turned = outline @ _rotation(candidate).T
        extent = np.maximum.reduceat(turned, first) - np.minimum.reduceat(turned, first)
        area = extent.prod(axis=1)
        better = area < least * (1 - 1e-9)
        least, angle = np.where(better, area, least), np.where(better, candidate, angle)
    cos, sin = np.cos(angle)[borders.point_chart], np.sin(angle)[borders.point_chart]
    turned = np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], axis=1)
    outline = turned[borders.start[order]]
    low, high = np.minimum.reduceat(outline, first), np.maximum.reduceat(outline, first)
    return turned - low[borders.point_chart], high - low


def _rotation(angle: float) -> Floats:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _first_scale(points: Floats, borders: Borders, margin: float, cells: int) -> float:
    """The scale at which charts and margins (fractions of the square) would fill FIRST_FILL of the cells."""
    a, b = points[borders.start], points[borders.end]
    area = max(abs(0.5 * float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())), 1e-300)
    length = float(np.linalg.norm(a - b, axis=1).sum())
    # Area of the charts widened by the reach w: scale^2 area + scale length w + pi w^2 a chart.
    reach = margin * cells + 0.5
    rest = np.pi * reach**2 * borders.count - FIRST_FILL * cells**2
    rest = min(rest, -0.05 * cells**2)
    linear = 0.7 * length * reach  # borders are jagged: the widened area grows more slowly
    return (-linear + (linear**2 - 4 * area * rest) ** 0.5) / (2 * area)


def _draw(points: Floats, boxes: Floats, borders: Borders, *, scale: float, margin: float, cells: int) -> _Drawing:
    offset = margin * cells + SLACK + 1e-3
    # A chart longer than the square would never fit.
    scale = min(scale, (cells - 1 - 2 * offset) / max(float(boxes.max(initial=0)), 1e-300))
    sizes = np.ceil(boxes * scale + 2 * offset).astype(np.int64)
    start, end = points[borders.start] * scale + offset, points[borders.end] * scale + offset
    return _Drawing(cells, scale, offset, draw_charts(start, end, borders.charts, sizes, reach=offset))


def _plan(drawing: _Drawing) -> _Plan:
    sizes = drawing.sizes
    masks = list(zip(*(masks_of(turned(drawing.pictures, quarter)) for quarter in range(4))))
    grid = _Grid(drawing.cells)
    corners = np.zeros((len(masks), 2), dtype=np.int64)
    turns = np.zeros(len(masks), dtype=np.int64)
    for chart in np.lexsort((np.arange(len(masks)), -sizes.sum(axis=1), -sizes.max(axis=1))).tolist():
        tried = SMALL_TURNS if sizes[chart].max() <= SMALL else 4
        corners[chart], turns[chart] = grid.put(masks[chart][:tried])
    return _Plan(drawing, corners, turns, grid.height)


def _placed(points: Floats, borders: Borders, plan: _Plan) -> Floats:
    """Points [n, 2] in cells of the grid."""
    chart = borders.point_chart
    x, y = (points * plan.drawing.scale + plan.drawing.offset).T
    width, height = plan.drawing.sizes[chart].T
    turn = plan.turns[chart]
    turned_x = np.choose(turn, [x, height - y, width - x, y])
    turned_y = np.choose(turn, [y, x, height - y, width - x])
    return np.stack([turned_x, turned_y], axis=1) + plan.corners[chart]


class _Grid:
    """Free cells of a strip `width` cells wide, growing upward: how many are free to the right of every cell."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.height = 0  # rows in use
        self._free = np.zeros((0, width), dtype=np.uint16)
        self._longest = np.zeros(0, dtype=np.int64)  # free run a row
        # Where the last mask of about these sides went: the next, which is no larger, need not look far below.
        self._found: dict[tuple[int, int], int] = {}
        self._grow(width)

    def _grow(self, rows: int) -> None:
        empty = np.tile(np.arange(self.width, 0, -1, dtype=np.uint16), (rows, 1))
        self._free = np.concatenate([self._free, empty])
        self._longest = np.concatenate([self._longest, np.full(rows, self.width)])

    def put(self, turns: Sequence[Mask]) -> tuple[tuple[int, int], int]:
        """Take the cells of that one of `turns` whose top ends lowest; returns its low corner (x, y) and its number."""
        best: tuple[int, int, int, int] | None = None
        for quarter, mask in enumerate(turns):
            if mask.width > self.width:
                continue
            limit = self.height + 1 if best is None else best[0] - mask.height
            found = self._find(mask, limit)
            if found is not None:
                x, y = found
                top = y + mask.height
                if best is None or top < best[0]:
                    best = (top, x, y, quarter)
        assert best is not None  # a row of the empty part always fits
        top, x, y, quarter = best
        self._take(turns[quarter], x, y)
        self.height = max(self.height, top)
        return (x, y), quarter

    def _find(self, mask: Mask, limit: int) -> tuple[int, int] | None:
        """The lowest place, then the leftmost, with its low row below `limit`."""
        if limit <= 0:
            return None
        if limit + mask.height + BAND > len(self._free):
            self._grow(limit + mask.height + BAND - len(self._free) + self.width)
        places = self.width - mask.width + 1
        rows = np.ones(limit, dtype=bool)
        for row, _, length in mask.runs[:CHECK_EVERY].tolist():
            rows &= self._longest[row : row + limit] >= length
        sides = round(CLASSES * math.log2(mask.width)), round(CLASSES * math.log2(mask.height))
        rows[: max(self._found.get(sides, 0) - LOOKBACK * mask.height, 0)] = False
        at = int(rows.argmax()) if rows.any() else limit
        while at < limit:
            band = min(BAND, limit - at)
            found = self._first_fit(mask.runs, at, band, places)
            if found is not None:
                self._found[sides] = found[1]
                return found
            at += band
            rest = rows[at:]
            at = at + int(rest.argmax()) if rest.any() else limit
        return None

    def _first_fit(self, runs: Ints, at: int, band: int, places: int) -> tuple[int, int] | None:
        """The lowest, then leftmost place (x, y) with y in at..at+band and x below `places` where all runs are free."""
        fits = np.ones((band, places), dtype=bool)
        test = np.empty_like(fits)
        done = 0
        while done < len(runs):
            for row, first, length in runs[done : done + CHECK_EVERY].tolist():
                np.greater_equal(self._free[at + row : at + row + band, first : first + places], length, out=test)
                fits &= test
            done += CHECK_EVERY
            if np.count_nonzero(fits) < FEW_PLACES:
                break
        y, x = np.divmod(np.flatnonzero(fits), places)
        place = (y + at) * self.width + x
        free, steps = self._free.reshape(-1), runs[:, 0] * self.width + runs[:, 1]
        step = CHECK_EVERY
        while len(place) and done < len(runs):  # the longer the list of runs passed, the shorter that of places
            some = slice(done, done + step)
            good = (free.take(place[:, None] + steps[some]) >= runs[some, 2]).all(axis=1)
            place = place[good]
            done += step
            step *= 2
        return (int(place[0]) % self.width, int(place[0]) // self.width) if len(place) else None

    def _take(self, mask: Mask, x: int, y: int) -> None:
        rows = self._free[y : y + mask.height]
        ahead = _free_runs(mask.filled)
        np.minimum(rows[:, x : x + mask.width], ahead, out=rows[:, x : x + mask.width])
        before = np.arange(x, 0, -1, dtype=np.uint16) + ahead[:, :1]
        np.minimum(rows[:, :x], before, out=rows[:, :x])
        self._longest[y : y + mask.height] = rows.max(axis=1)


def _free_runs(taken: Bools) -> NDArray[np.uint16]:
    """For every cell how many free ones begin there to the right, FAR where none is taken there."""
    width = taken.shape[1]
    column = np.where(taken, np.arange(width), FAR + width)
    blocked = np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(blocked - np.arange(width), FAR).astype(np.uint16)
