"""Which charts may be used: no turned face, no border across another, little stretch."""

from dataclasses import dataclass

import numpy as np

from trellis.ops.atlas.topology import (
    Bools,
    Floats,
    Ints,
    Neighbours,
    border_half_edges,
    dots,
    lengths,
    side_ends,
    sums,
)
from trellis.ops.half_edges import face_vectors

MIN_AREA = 1e-12  # of the largest face: what is smaller has no area worth a texel, or a judgement
ANGLE_TOLERANCE = 1e-7
LEAST_AREA_RATIO = 0.02  # of a face in the plane to the same in space


@dataclass(frozen=True)
class Distortion:
    """Of each chart [c]: areas in space, L2 stretch (Sander et al. 2001: 1 is none); of each face [F]: lost.

    Lost faces are turned over or squashed to nothing.
    """

    areas: Floats
    stretch: Floats
    lost: Bools


def signed_areas(flat: Floats, faces: Ints) -> Floats:
    """Areas [F] in the plane, positive counter-clockwise."""
    a, b = flat[faces[:, 1]] - flat[faces[:, 0]], flat[faces[:, 2]] - flat[faces[:, 0]]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def distortion(points: Floats, flat: Floats, faces: Ints, chart: Ints) -> Distortion:
    """How much the map from `flat` [n, 2] to `points` [n, 3] stretches, chart by chart.

    The stretch of a face is the root mean square of the singular values of that map; of a chart the mean square
    weighted by area in space, times the area ratio, so that scaling does not count.
    """
    count = int(chart.max(initial=-1)) + 1
    corners, plane = points[faces], flat[faces]
    areas = 0.5 * lengths(face_vectors(corners))
    signed = signed_areas(flat, faces)
    real = areas > MIN_AREA * areas.max(initial=0)
    usable = real & (signed > LEAST_AREA_RATIO * areas)
    safe = np.where(usable, 2 * signed, 1.0)[:, None]
    s, t = plane[..., 0], plane[..., 1]
    ds = sum(corners[:, i] * (t[:, i - 2] - t[:, i - 1])[:, None] for i in range(3)) / safe
    dt = sum(corners[:, i] * (s[:, i - 1] - s[:, i - 2])[:, None] for i in range(3)) / safe
    square = 0.5 * (dots(ds, ds) + dots(dt, dt))
    total = sums(chart, areas, count)
    flat_total = sums(chart, np.abs(signed), count)
    squares = sums(chart, np.where(usable, square * areas, 0.0), count)
    sizes = np.maximum(sums(chart, np.where(usable, areas, 0.0), count), 1e-300)
    stretch = np.sqrt(squares / sizes * flat_total / np.maximum(total, 1e-300))
    return Distortion(total, stretch, real & ~usable)


def crossing_faces(flat: Floats, faces: Ints, chart: Ints, joined: Neighbours) -> Bools:
    """True [F] at one side of every place where the border of a chart crosses itself.

    A chart of which no face is turned or crowded and no border crosses does not overlap itself. Borders are hashed
    into cells of about the length of a chart's sides; pairs within a cell are tested.
    """
    half = border_half_edges(joined)
    start, end = side_ends(faces, half)
    owner = chart[half // 3]
    count = int(chart.max(initial=-1)) + 1
    length = lengths(flat[start] - flat[end])
    mean = np.bincount(owner, weights=length, minlength=count) / np.maximum(np.bincount(owner, minlength=count), 1)
    side = np.maximum(1.5 * mean, 1e-9 * max(float(length.max(initial=0)), 1e-300))[owner]
    segment, key = _cells(flat[start] / side[:, None], flat[end] / side[:, None], owner)
    result = np.zeros(len(faces), dtype=bool)
    a, b = _pairs(segment, key)
    apart = (start[a] != start[b]) & (start[a] != end[b]) & (end[a] != start[b]) & (end[a] != end[b])
    a, b = a[apart], b[apart]
    cross = _crossing(flat[start[a]], flat[end[a]], flat[start[b]], flat[end[b]])
    result[half[np.maximum(a[cross], b[cross])] // 3] = True
    return result


def crowded_faces(flat: Floats, faces: Ints, joined: Neighbours) -> Bools:
    """True [F] for faces whose corner lies over another corner at the same vertex: fans of more than a full turn."""
    corners = flat[faces]
    to_next, to_last = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    turn = to_next[..., 0] * to_last[..., 1] - to_next[..., 1] * to_last[..., 0]
    opening = np.arctan2(turn, dots(to_next, to_last))
    doubtful = np.flatnonzero(_doubtful_vertices(faces, opening, joined)[faces])
    result = np.zeros(len(faces), dtype=bool)
    if not len(doubtful):
        return result
    opening, vertex = opening.ravel()[doubtful], faces.ravel()[doubtful]
    begin = np.arctan2(to_next[..., 1].ravel()[doubtful], to_next[..., 0].ravel()[doubtful])
    order = np.lexsort((begin, vertex))
    begin, opening, vertex = begin[order], opening[order], vertex[order]
    starts = np.flatnonzero(np.r_[True, vertex[1:] != vertex[:-1]])
    following = np.r_[begin[1:], 0.0]
    following[np.r_[starts[1:], len(begin)] - 1] = begin[starts] + 2 * np.pi
    after = np.arange(1, len(begin) + 1)
    after[np.r_[starts[1:], len(begin)] - 1] = starts
    over = begin + opening > following + ANGLE_TOLERANCE
    result[doubtful[order[after[over]]] // 3] = True
    return result


def _doubtful_vertices(faces: Ints, opening: Floats, joined: Neighbours) -> Bools:
    """True [n] unless the corners (`opening` [F, 3], radians) at a vertex are one fan of at most a full turn."""
    corner = faces.ravel()
    count = int(corner.max(initial=-1)) + 1
    # An open fan has one corner more than sides between its faces, a closed one as many.
    sides = np.bincount(np.concatenate(side_ends(faces, joined.first)), minlength=count)
    one = np.bincount(corner, minlength=count) - sides <= 1
    plain = sums(corner, opening.ravel() < 0, count) == 0
    return ~(one & plain & (sums(corner, opening.ravel(), count) <= 2 * np.pi + ANGLE_TOLERANCE))


def _cells(start: Floats, end: Floats, owner: Ints) -> tuple[Ints, Ints]:
    """Segment number [k] and cell [k] for every cell that the box of a segment touches."""
    low = np.floor(np.minimum(start, end)).astype(np.int64)
    high = np.floor(np.maximum(start, end)).astype(np.int64)
    extent = high - low + 1
    copies = extent[:, 0] * extent[:, 1]
    segment = np.repeat(np.arange(len(start)), copies)
    index = np.arange(len(segment)) - np.repeat(np.cumsum(copies) - copies, copies)
    x = low[segment, 0] + index % extent[segment, 0]
    y = low[segment, 1] + index // extent[segment, 0]
    wide = max(int(high.max(initial=0) - low.min(initial=0)) + 1, 1)
    origin = low.min(initial=0)
    return segment, (owner[segment] * wide + x - origin) * wide + y - origin


def _pairs(segment: Ints, key: Ints) -> tuple[Ints, Ints]:
    """Pairs [k] of segments in one cell."""
    order = np.argsort(key, kind="stable")
    key, segment = key[order], segment[order]
    first, second = [segment[:0]], [segment[:0]]
    step = 1  # the neighbours so far on in the sorted list
    at = np.arange(len(key))
    while True:
        at = at[at + step < len(key)]
        at = at[key[at] == key[at + step]]
        if not len(at):
            return np.concatenate(first), np.concatenate(second)
        first.append(segment[at])
        second.append(segment[at + step])
        step += 1


def _crossing(a: Floats, b: Floats, c: Floats, d: Floats) -> Bools:
    """Whether the open segments a-b and c-d [m, 2] cross."""

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
