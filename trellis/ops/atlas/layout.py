"""From faces to charts that lie flat: merge, flatten, take apart what fails, join what is left over."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from trellis.ops.atlas.charts import (
    MergeOptions,
    Regions,
    best_pairs,
    border_lengths,
    face_regions,
    joined_edges,
    merge_faces,
)
from trellis.ops.atlas.flatten import flatten
from trellis.ops.atlas.topology import Bools, Floats, Ints, Neighbours, cut_vertices, find_neighbours
from trellis.ops.atlas.validity import crossing_faces, crowded_faces, distortion

MOST_ROUNDS = 40
PEELS = 8  # times that overlapping faces are cut off before a chart falls in two
FEW_LOST = 0.15  # of a chart's faces


@dataclass(frozen=True)
class LayoutOptions:
    """How charts grow, and what they must satisfy.

    max_stretch: the L2 stretch above which a chart is taken apart; iterations: of flattening;
    small: charts below this fraction of the surface are joined to neighbours where that stays flat; joins: how often.
    """

    merge: MergeOptions
    max_stretch: float
    iterations: int
    small: float
    joins: int


@dataclass(frozen=True)
class Layout:
    """chart [F] of every face, counted from 0; flat [F, 3 corners, 2] in the units of the surface, chart by chart."""

    chart: Ints
    flat: Floats

    @property
    def count(self) -> int:
        return int(self.chart.max(initial=-1)) + 1


@dataclass(frozen=True)
class _Trial:
    """Flat corners [f, 3, 2]; faces [f] to cut out, so that the others do not overlap; charts [c] that cannot stay."""

    flat: Floats
    lost: Bools
    failed: Bools


def lay_out(vertices: Floats, faces: Ints, *, options: LayoutOptions) -> Layout:
    """Charts of the surface, each one connected, free of overlap and of little stretch. Deterministic."""
    neighbours = find_neighbours(faces, len(vertices))
    chart = merge_faces(vertices, faces, neighbours, options=options.merge)
    layout = _flat_charts(vertices, faces, neighbours, chart, options)
    regions, borders = face_regions(vertices, faces), border_lengths(vertices, faces, neighbours)
    rejected = np.zeros(len(neighbours.first), dtype=bool)
    for _ in range(options.joins):
        joined, rejected = _join_small(vertices, faces, neighbours, regions, borders, layout, rejected, options)
        if joined is layout:
            break
        layout = joined
    return layout


def _flat_charts(vertices: Floats, faces: Ints, neighbours: Neighbours, chart: Ints, options: LayoutOptions) -> Layout:
    """Charts that lie flat; faces in the way are cut out, to be tried apart, and what fails is halved."""
    part = np.full(len(faces), -1)
    flat = np.zeros((len(faces), 3, 2))
    group = chart.copy()
    active = np.ones(len(faces), dtype=bool)
    done = 0
    for attempt in range(MOST_ROUNDS + 1):
        here = np.flatnonzero(active)
        if not len(here):
            break
        if attempt == MOST_ROUNDS:
            group[here] = here  # each on its own: a single face always lies flat
        links = neighbours.among(active)
        label = _components(links, group[here])
        trial = _try(vertices, faces[here], links.within(label), label, options, peels=PEELS)
        failed = trial.failed[label]
        good = ~failed & ~trial.lost
        part[here[good]] = done + label[good]
        done += len(trial.failed)
        flat[here[good]] = trial.flat[good]
        active[here[good]] = False
        # What was cut out is a group of its own beside the two halves of a chart that failed.
        group[here] = 3 * label + np.where(failed, _halves(vertices[faces[here]], label), 2)
    # Cutting out may have parted a chart.
    return Layout(_components(neighbours, part), flat)


def _halves(corners: Floats, label: Ints) -> Ints:
    """0 or 1 for every face [f] (corners [f, 3, 3]): the side of its chart's middle along the chart's longest axis."""
    centres = corners.mean(axis=1)
    sizes = np.bincount(label)

    def mean(values: Floats) -> Floats:
        return np.bincount(label, weights=values) / sizes

    centres = centres - np.stack([mean(column) for column in centres.T], axis=1)[label]
    covariance = np.array([[mean(centres[:, i] * centres[:, j]) for j in range(3)] for i in range(3)])
    _, axes = np.linalg.eigh(np.moveaxis(covariance, 2, 0))
    side = (centres * axes[:, :, 2][label]).sum(axis=1) > 0
    # Faces back to back share their centre: the first goes to one side.
    _, first = np.unique(label, return_index=True)
    whole = mean(side) % 1 == 0
    side[first[whole]] = ~side[first[whole]]
    return side.astype(np.int64)


def _components(links: Neighbours, label: Ints) -> Ints:
    """Number of the connected part [f] of faces of one `label` [f]."""
    a, b = links.within(label).faces
    shape = (links.face_count, links.face_count)
    _, component = connected_components(
        sparse.coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=shape), directed=False
    )
    return component.astype(np.int64)


def _try(
    vertices: Floats, faces: Ints, joined: Neighbours, label: Ints, options: LayoutOptions, *, peels: int
) -> _Trial:
    """Lay charts flat; faces that overlap others are cut out up to `peels` times, a chart with more of them fails."""
    source, cut = cut_vertices(faces, joined)
    points = vertices[source]
    flat = flatten(points, cut, label, iterations=options.iterations)
    found = distortion(points, flat, cut, label)
    sizes = np.bincount(label)
    lost = found.lost & (sizes > 1)[label]
    doubtful = np.ones(len(sizes), dtype=bool)
    for _ in range(peels + 1):
        kept = ~lost & doubtful[label]
        crossing = np.zeros(len(faces), dtype=bool)
        links = joined.among(kept)
        crossing[kept] = crossing_faces(flat, cut[kept], label[kept], links)
        crossing[kept] |= crowded_faces(flat, cut[kept], links)
        lost |= crossing
        doubtful = np.bincount(label, weights=crossing, minlength=len(sizes)) > 0
        if not doubtful.any():
            break
    many = np.bincount(label, weights=lost) > (FEW_LOST * sizes if peels else 0)
    failed = (doubtful | many | (found.stretch > options.max_stretch)) & (sizes > 1)
    return _Trial(flat[cut], lost & ~failed[label], failed)


def _join_small(
    vertices: Floats,
    faces: Ints,
    neighbours: Neighbours,
    regions: Regions,
    borders: Floats,
    layout: Layout,
    rejected: Bools,
    options: LayoutOptions,
) -> tuple[Layout, Bools]:
    """Join small charts to their best neighbours where the union lies flat; remember the borders where it does not.

    regions are the faces, borders [m] the lengths between `neighbours`.
    """
    regions = regions.merged(layout.chart, layout.count)
    total = float(regions.areas.sum())
    a, b = neighbours.faces
    left, right = layout.chart[a], layout.chart[b]
    small = np.minimum(regions.areas[left], regions.areas[right]) < options.small * total
    usable = small & (left != right) & ~rejected
    edges = joined_edges(left[usable], right[usable], borders[usable], layout.count)
    pair = best_pairs(regions, edges, total, replace(options.merge, scale=np.inf))
    if not len(pair[0]):
        return layout, rejected
    partner = np.arange(layout.count)
    partner[pair[1]] = pair[0]
    involved = np.zeros(layout.count, dtype=bool)
    involved[pair[0]] = involved[pair[1]] = True
    active = involved[layout.chart]
    here = np.flatnonzero(active)
    united, label = np.unique(partner[layout.chart[here]], return_inverse=True)
    trial = _try(vertices, faces[here], neighbours.among(active).within(label), label, options, peels=0)
    good = ~trial.failed[label]
    flat = layout.flat.copy()
    flat[here[good]] = trial.flat[good]
    bad = united[trial.failed]
    partner[np.isin(partner, bad)] = np.flatnonzero(np.isin(partner, bad))
    refused = np.zeros(layout.count, dtype=bool)
    refused[bad] = True
    rejected = rejected | _between(left, right, pair, refused)
    _, chart = np.unique(partner[layout.chart], return_inverse=True)
    return Layout(chart, flat), rejected


def _between(left: Ints, right: Ints, pair: tuple[Ints, Ints], refused: Bools) -> Bools:
    """Edges [m] between the charts of refused pairs (named by the first chart of the pair)."""
    other = np.full(len(refused), -1)
    other[pair[0]] = pair[1]
    other[~refused] = -1
    return (other[left] == right) | (other[right] == left)
