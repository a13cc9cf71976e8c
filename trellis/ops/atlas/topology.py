"""Which faces are neighbours, and what a cut along chart borders makes of the vertices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighbours:
    """Pairs of half edges [m] that run against each other along one edge of exactly two faces.

    Half edge h of F faces is the side from corner h // F to the next corner of face h % F.
    """

    first: Ints
    second: Ints
    face_count: int

    @property
    def faces(self) -> tuple[Ints, Ints]:
        """The two faces of every pair [m]."""
        return self.first % self.face_count, self.second % self.face_count

    def within(self, labels: Ints) -> "Neighbours":
        """The pairs whose two faces have the same label [F]."""
        a, b = self.faces
        same = labels[a] == labels[b]
        return Neighbours(self.first[same], self.second[same], self.face_count)

    def among(self, chosen: Bools) -> "Neighbours":
        """The pairs of two `chosen` [F] faces, renumbered to the chosen faces alone."""
        a, b = self.faces
        kept = chosen[a] & chosen[b]
        number, count = np.cumsum(chosen) - 1, int(chosen.sum())
        first, second = (
            number[half[kept] % self.face_count] + half[kept] // self.face_count * count
            for half in (self.first, self.second)
        )
        return Neighbours(first, second, count)


def find_neighbours(faces: Ints, vertex_count: int) -> Neighbours:
    """Neighbours of `faces` [F, 3] across edges with exactly two faces that are wound alike."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = edges.min(axis=1) * np.int64(vertex_count) + edges.max(axis=1)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, dtype=np.int64)
    pairs = starts[np.diff(np.r_[starts, len(ordered)]) == 2]
    a, b = order[pairs], order[pairs + 1]
    against = (edges[a, 0] == edges[b, 1]) & (edges[a, 0] != edges[a, 1])
    return Neighbours(a[against], b[against], len(faces))


def cut_vertices(faces: Ints, joined: Neighbours) -> tuple[Ints, Ints]:
    """One vertex for all corners that meet around a vertex without crossing a border.

    Returns the vertex of `faces` that each new one [n] copies, and the faces [F, 3] on the new ones. `joined` are the
    neighbours that stay together. A chart of joined faces is a manifold with borders afterwards.
    """
    count = len(faces)
    starts = [half % count * 3 + half // count for half in (joined.first, joined.second)]
    ends = [half % count * 3 + (half // count + 1) % 3 for half in (joined.first, joined.second)]
    left, right = np.concatenate([starts[0], ends[0]]), np.concatenate([ends[1], starts[1]])
    graph = sparse.coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(3 * count, 3 * count))
    total, label = connected_components(graph, directed=False)
    source = np.zeros(total, dtype=np.int64)
    source[label] = faces.reshape(-1)
    return source, label.astype(np.int64).reshape(-1, 3)


def border_half_edges(joined: Neighbours) -> Ints:
    """Half edges [m] that no joined pair uses: the borders of the charts."""
    free = np.ones(3 * joined.face_count, dtype=bool)
    free[joined.first] = False
    free[joined.second] = False
    return np.flatnonzero(free)


def sums(group: Ints, values: NDArray, count: int) -> Floats:
    """Sums [count] of `values` [n] by `group` [n]."""
    return np.bincount(group, weights=values, minlength=count).astype(np.float64)


def dots(a: Floats, b: Floats) -> Floats:
    """Scalar products [...] of vectors [..., k]."""
    return np.einsum("...i,...i->...", a, b)


def lengths(vectors: Floats) -> Floats:
    """Lengths [...] of vectors [..., k]."""
    return np.sqrt(dots(vectors, vectors))


def side_ends(faces: Ints, half: Ints) -> tuple[Ints, Ints]:
    """Start [m] and end [m] vertices of half edges."""
    face, corner = half % len(faces), half // len(faces)
    return faces[face, corner], faces[face, (corner + 1) % 3]
