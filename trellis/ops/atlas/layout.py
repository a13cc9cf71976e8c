"""From faces to charts that lie flat: merge, flatten, take apart what fails, join what is left over."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from trellis.ops.atlas.charts import (
    MergeOptions,
    MergeTree,
    best_pairs,
    border_lengths,
    face_regions,
    joined_edges,
    merge_faces,
)
from trellis.ops.atlas.flatten import flatten
from trellis.ops.atlas.topology import Bools, Floats, Ints, Neighbours, cut_vertices, find_neighbours
from trellis.ops.atlas.validity import crossing_faces, distortion

MOST_ROUNDS = 48
CUTTING_ROUNDS = 8  # then halves: a fold may peel face by face for ever
FEW_LOST = 0.25  # of a chart's faces: they are cut out; with more, the chart falls in two


@dataclass(frozen=True)
class LayoutOptions:
    """merge: how charts grow; max_stretch: the L2 stretch above which a chart is taken apart; iterations: of flattening;

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
    """Flat corners [f, 3, 2], lost faces [f], and the charts [c] that cannot stay."""

    flat: Floats
    lost: Bools
    failed: Bools


def lay_out(vertices: Floats, faces: Ints, *, options: LayoutOptions) -> Layout:
    """Charts of the surface, each one connected, free of overlap and of little stretch. Deterministic."""
    neighbours = find_neighbours(faces, len(vertices))
    tree = merge_faces(vertices, faces, neighbours, options=options.merge)
    layout = _flat_charts(vertices, faces, neighbours, tree, options)
    rejected = np.zeros(len(neighbours.first), dtype=bool)
    for _ in range(options.joins):
        joined, rejected = _join_small(vertices, faces, neighbours, layout, rejected, options)
        if joined is layout:
            break
        layout = joined
    return layout


def _flat_charts(
    vertices: Floats, faces: Ints, neighbours: Neighbours, tree: MergeTree, options: LayoutOptions
) -> Layout:
    chart = np.full(len(faces), -1)
    flat = np.zeros((len(faces), 3, 2))
    piece = np.zeros(len(faces), dtype=np.int64)  # faces cut out of their chart
    active = np.ones(len(faces), dtype=bool)
    done = 0
    for attempt in range(MOST_ROUNDS + 1):
        here = np.flatnonzero(active)
        if not len(here):
            break
        if attempt == MOST_ROUNDS:
            piece[here] = len(faces) + here  # each on its own: a single face always lies flat
        links = neighbours.among(active)
        root = tree.labels()[here]
        label = _components(links, root, piece[here])
        trial = _try(vertices, faces[here], links.within(label), label, options)
        good = ~trial.failed[label]
        chart[here[good]] = (np.cumsum(~trial.failed) - 1 + done)[label[good]]
        flat[here[good]] = trial.flat[good]
        active[here[good]] = False
        done += int((~trial.failed).sum())
        few = np.bincount(label, weights=trial.lost) <= FEW_LOST * np.bincount(label)
        cut = trial.failed & few & (np.bincount(label, weights=trial.lost) > 0) & (attempt < CUTTING_ROUNDS)
        piece[here[cut[label] & trial.lost]] = attempt + 1
        bad = np.unique(root[(trial.failed & ~cut)[label]])
        tree = tree.split(bad[tree.roots[bad] >= tree.face_count])
    return Layout(chart, flat)


def _components(links: Neighbours, *labels: Ints) -> Ints:
    """Number of the connected part [f] of faces that agree in all `labels` [f]."""
    for label in labels:
        links = links.within(label)
    a, b = links.faces
    shape = (links.face_count, links.face_count)
    _, component = connected_components(sparse.coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=shape), directed=False)
    return component.astype(np.int64)


def _try(vertices: Floats, faces: Ints, joined: Neighbours, label: Ints, options: LayoutOptions) -> _Trial:
    source, cut = cut_vertices(faces, joined)
    points = vertices[source]
    flat = flatten(points, cut, label, iterations=options.iterations)
    found = distortion(points, flat, cut, label)
    lost = found.lost | crossing_faces(flat, cut, label, joined)
    single = np.bincount(label) == 1
    failed = ((np.bincount(label, weights=lost) > 0) | (found.stretch > options.max_stretch)) & ~single
    return _Trial(flat[cut], lost, failed)


def _join_small(
    vertices: Floats,
    faces: Ints,
    neighbours: Neighbours,
    layout: Layout,
    rejected: Bools,
    options: LayoutOptions,
) -> tuple[Layout, Bools]:
    """Join small charts to their best neighbours where the union lies flat; remember the borders where it does not."""
    regions = face_regions(vertices, faces).merged(layout.chart, layout.count)
    total = float(regions.areas.sum())
    a, b = neighbours.faces
    left, right = layout.chart[a], layout.chart[b]
    small = np.minimum(regions.areas[left], regions.areas[right]) < options.small * total
    usable = small & (left != right) & ~rejected
    lengths = border_lengths(vertices, faces, neighbours)
    edges = joined_edges(left[usable], right[usable], lengths[usable], layout.count)
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
    trial = _try(vertices, faces[here], neighbours.among(active).within(label), label, options)
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
