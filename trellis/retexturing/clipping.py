"""Triangles without what of them lies in boxes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
LEAST_AREA = 1e-9  # of a face, below which a piece is none


def in_boxes(points: Points, boxes: Points) -> NDArray[np.bool_]:
    """Bool [n]: `points` [n, 3] in any of `boxes` [B, 2, 3] (lower and upper corner)."""
    within = (points[:, None] >= boxes[:, 0]) & (points[:, None] <= boxes[:, 1])
    found: NDArray[np.bool_] = np.logical_or.reduce(np.logical_and.reduce(within, axis=2), axis=1)
    return found


def apart_from_boxes(corners: Points, boxes: Points) -> NDArray[np.bool_]:
    """Bool [F]: triangles [F, 3, 3] that a side of each of the boxes parts from it."""
    low, high = corners.min(1)[:, None], corners.max(1)[:, None]
    return ((low > boxes[:, 1]) | (high < boxes[:, 0])).any(axis=2).all(axis=1)


def outside_of_boxes(corners: Points, boxes: Points) -> Points | None:
    """What of a triangle [3, 3] lies outside of the boxes: triangles [T, 3, 3] of its barycentric coordinates.

    None where that is all of it.
    """
    pieces, cut = [np.eye(3)], False
    for box in boxes:
        parts: list[Points] = []
        for piece in pieces:
            beyond, inner = _parted(piece, corners, box)
            if _area(inner) > LEAST_AREA:
                parts, cut = parts + beyond, True
            else:
                parts.append(piece)
        pieces = parts
    if not cut:
        return None
    fans = [piece[[0, i, i + 1]] for piece in pieces for i in range(1, len(piece) - 1)]
    return np.array([fan for fan in fans if _area(fan) > LEAST_AREA]).reshape(-1, 3, 3)


def _parted(piece: Points, corners: Points, box: Points) -> tuple[list[Points], Points]:
    """The convex parts of a polygon [n, 3] (barycentric) outside of a box, and the one inside."""
    beyond, inner = list[Points](), piece
    for axis in range(3):
        for sign, limit in ((-1.0, box[0, axis]), (1.0, box[1, axis])):
            if len(inner) < 3:
                return beyond, inner
            distance = sign * (inner @ corners[:, axis] - limit)
            outer = np.array(list(_half(inner, distance)))
            if len(outer) >= 3:
                beyond.append(outer)
            inner = np.array(list(_half(inner, -distance)))
    return beyond, inner


def _half(polygon: Points, distance: Points) -> Iterator[Points]:
    """The corners of the part of a polygon where `distance` is not negative."""
    for i in range(len(polygon)):
        before, here = distance[i - 1], distance[i]
        if (before < 0) != (here < 0):
            share = before / (before - here)
            yield polygon[i - 1] + share * (polygon[i] - polygon[i - 1])
        if here >= 0:
            yield polygon[i]


def _area(polygon: Points) -> float:
    """The share of the triangle that a polygon [n, 3] of its barycentric coordinates covers."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
