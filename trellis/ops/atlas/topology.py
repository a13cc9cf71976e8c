"""Which faces are neighbours, and what a cut along chart borders makes of the vertices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.ops.half_edges import EdgeTable, corner_fans, following

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighbours:
    """Pairs of half edges [m] that run against each other along one edge of exactly two faces."""

    first: Ints
    second: Ints
    face_count: int

    @property
    def faces(self) -> tuple[Ints, Ints]:
        """The two faces of every pair [m]."""
        return self.first // 3, self.second // 3

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
        first, second = (3 * number[half[kept] // 3] + half[kept] % 3 for half in (self.first, self.second))
        return Neighbours(first, second, count)


def find_neighbours(faces: Ints, vertex_count: int) -> Neighbours:
    """Neighbours of `faces` [F, 3] across edges with exactly two faces that are wound alike."""
    edges = EdgeTable.build(faces, vertex_count)
    a, b = edges.pairs()
    against = (edges.starts[a] == edges.ends[b]) & (edges.starts[a] != edges.ends[a])
    return Neighbours(a[against], b[against], len(faces))


def cut_vertices(faces: Ints, joined: Neighbours) -> tuple[Ints, Ints]:
    """One vertex for all corners that meet around a vertex without crossing a border.

    Returns the vertex of `faces` that each new one [n] copies, and the faces [F, 3] on the new ones. `joined` are the
    neighbours that stay together. A chart of joined faces is a manifold with borders afterwards.
    """
    total, fan = corner_fans(faces, joined.first, joined.second)
    source = np.zeros(total, dtype=np.int64)
    source[fan] = faces.reshape(-1)
    return source, fan.reshape(-1, 3)


def border_half_edges(joined: Neighbours) -> Ints:
    """Half edges [m] that no joined pair uses: the borders of the charts.

    First sides of faces come before second and third ones: of two that cross, the later is cut out.
    """
    free = np.ones(3 * joined.face_count, dtype=bool)
    free[joined.first] = False
    free[joined.second] = False
    half = np.flatnonzero(free)
    return half[np.argsort(half % 3, kind="stable")]


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
    corners = faces.reshape(-1)
    return corners[half], corners[following(half)]
