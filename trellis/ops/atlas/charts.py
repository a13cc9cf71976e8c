"""Charts by merging faces: little turning of the normal within, short borders between.

Region merging after Koepfler, Lopez and Morel (1994) for the energy

    sum over charts of (area - |sum of area-weighted normals| + spread) + scale * length of all borders

A pair of neighbouring charts is worth merging from the scale (increase of the first term) / (their border) on.
In every round all pairs that are each other's best merge at once.
"""

from dataclasses import dataclass

import numpy as np

from trellis.ops.atlas.topology import Floats, Ints, Neighbours, dots, lengths, side_ends, sums
from trellis.ops.half_edges import face_vectors

LEAST_CREASE = 0.3


@dataclass(frozen=True)
class MergeOptions:
    """When merging ends.

    scale: the last scale, in units of sqrt(area of the surface); max_area: largest chart as a fraction of the surface;
    roundness: weight of the spread of a chart about its centre.
    """

    scale: float
    max_area: float
    roundness: float


@dataclass(frozen=True)
class Regions:
    """Sums over the faces of each region: areas [n], normals [n, 3] and centres [n, 3] weighted by area."""

    areas: Floats
    normals: Floats
    centres: Floats

    def merged(self, number: Ints, count: int) -> "Regions":
        def total(values: Floats) -> Floats:
            return sums(number, values, count)

        return Regions(
            total(self.areas),
            np.stack([total(column) for column in self.normals.T], axis=1),
            np.stack([total(column) for column in self.centres.T], axis=1),
        )


def merge_faces(vertices: Floats, faces: Ints, neighbours: Neighbours, *, options: MergeOptions) -> Ints:
    """The chart [F] of every face, counted from 0; each is connected. Deterministic."""
    left, right = neighbours.faces
    edges = joined_edges(left, right, border_lengths(vertices, faces, neighbours), len(faces))
    regions = face_regions(vertices, faces)
    total = max(float(regions.areas.sum()), 1e-300)
    chart = np.arange(len(faces))
    while len(edges[0]):
        pair = best_pairs(regions, edges, total, options)
        if not len(pair[0]):
            break
        number, count = _renumbering(len(regions.areas), pair)
        chart = number[chart]
        regions = regions.merged(number, count)
        edges = joined_edges(number[edges[0]], number[edges[1]], edges[2], count)
    return chart


def face_regions(vertices: Floats, faces: Ints) -> Regions:
    """Every face as a region of its own."""
    vectors = 0.5 * face_vectors(vertices[faces])  # as long as the area
    areas = lengths(vectors)
    return Regions(areas, vectors, vertices[faces].mean(axis=1) * areas[:, None])


def border_lengths(vertices: Floats, faces: Ints, neighbours: Neighbours) -> Floats:
    """Length [m] of every edge between neighbours, less across a crease: borders should run there."""
    start, end = side_ends(faces, neighbours.first)
    vectors = face_vectors(vertices[faces])
    unit = vectors / np.maximum(lengths(vectors)[:, None], 1e-300)
    left, right = neighbours.faces
    straight = np.clip(dots(unit[left], unit[right]), LEAST_CREASE, 1)
    return straight * lengths(vertices[start] - vertices[end])


def joined_edges(left: Ints, right: Ints, length: Floats, count: int) -> tuple[Ints, Ints, Floats]:
    """Borders between different regions: lower region [m], higher region [m], length [m]."""
    low, high = np.minimum(left, right), np.maximum(left, right)
    apart = low != high
    keys, place = np.unique(low[apart] * np.int64(count) + high[apart], return_inverse=True)
    return keys // count, keys % count, sums(place, length[apart], len(keys))


def best_pairs(
    regions: Regions, edges: tuple[Ints, Ints, Floats], total: float, options: MergeOptions
) -> tuple[Ints, Ints]:
    """Regions (a [k], b [k]) that are each other's best merge; no region is in two pairs."""
    low, high, length = edges
    area = regions.areas[low] + regions.areas[high]
    turning = lengths(regions.normals)
    bending = turning[low] + turning[high] - lengths(regions.normals[low] + regions.normals[high])
    centres = regions.centres / np.maximum(regions.areas, 1e-300)[:, None]
    between = centres[low] - centres[high]
    spread = regions.areas[low] * regions.areas[high] / np.maximum(area, 1e-300) * dots(between, between)
    increase = np.maximum(bending, 0) + options.roundness * spread / (options.max_area * total)
    scale = increase / np.maximum(length, 1e-12 * total**0.5)
    usable = np.flatnonzero((scale <= options.scale * total**0.5) & (area <= options.max_area * total))
    low, high = low[usable], high[usable]
    order = np.argsort(scale[usable], kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    # Written from the worst to the best: the last one stays.
    best = np.full(len(regions.areas), -1)
    backwards = order[::-1]
    best[np.stack([low[backwards], high[backwards]], axis=1).reshape(-1)] = np.repeat(rank[backwards], 2)
    mutual = (best[low] == rank) & (best[high] == rank)
    return low[mutual], high[mutual]


def _renumbering(count: int, pair: tuple[Ints, Ints]) -> tuple[Ints, int]:
    """New number [count] of every region when each pair takes the place of its first, and how many remain."""
    gone = np.zeros(count, dtype=bool)
    gone[pair[1]] = True
    number = np.cumsum(~gone) - 1
    number[pair[1]] = number[pair[0]]
    return number, count - len(pair[0])
