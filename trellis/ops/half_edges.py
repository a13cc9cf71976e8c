"""Half edges of a triangle mesh: which faces meet at which edge, and what hangs together. For numpy and torch alike.

Half edge h = 3 f + k is the side of face f from its corner k to the next corner; it bears the number of that corner.
Torch is not imported here: the child program that makes texture atlases must not wait for it.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[Any], "Tensor")


def library(array: object) -> Any:
    """The module whose functions take this array: numpy or torch."""
    return importlib.import_module(type(array).__module__.partition(".")[0])


@dataclass(frozen=True)
class EdgeTable(Generic[Array]):
    """Half edges of faces [F, 3] by the undirected edge they belong to.

    starts, ends [3 F]: vertices of each half edge. `order` [3 F] lists the half edges edge by edge, in rising numbers;
    `first` [E] is where an edge begins in it, `counts` [E] how many faces it has.
    """

    starts: Array
    ends: Array
    order: Array
    first: Array
    counts: Array

    @classmethod
    def build(cls, faces: Array, vertex_count: int) -> "EdgeTable[Array]":
        xp = library(faces)
        faces = xp.asarray(faces, dtype=xp.int64)
        starts, ends = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
        keys = xp.minimum(starts, ends) * vertex_count + xp.maximum(starts, ends)
        order = xp.argsort(keys, stable=True)
        keys = keys[order]
        begins, closes = (xp.ones_like(keys, dtype=bool) for _ in range(2))
        begins[1:] = closes[:-1] = keys[1:] != keys[:-1]
        first = xp.where(begins)[0]
        return cls(starts, ends, order, first, xp.where(closes)[0] - first + 1)

    @property
    def watertight(self) -> bool:
        """Every edge has exactly two faces, and there are edges."""
        return len(self.counts) > 0 and bool((self.counts == 2).all())

    def pairs(self) -> tuple[Array, Array]:
        """Half edges (a [m], b [m]) of the edges with exactly two faces."""
        first = self.first[self.counts == 2]
        return self.order[first], self.order[first + 1]

    def uses(self) -> Array:
        """Number of faces [3 F] at the edge of each half edge: 1 at a border, 2 within a surface."""
        begins = library(self.order).zeros_like(self.order)
        begins[self.first] = 1
        uses = begins * 0
        uses[self.order] = self.counts[begins.cumsum(0) - 1]
        return uses


def following(half: Array) -> Array:
    """The next half edges around the same faces."""
    return half + 1 - 3 * (half % 3 == 2)


def corner_fans(faces: Array, first: Array, second: Array) -> tuple[int, Array]:
    """Number of fans and the fan [3 F] of every corner, where faces [F, 3] are joined along pairs of half edges [m].

    Corners are in one fan when they meet at the end of such a pair, however the two faces are wound.
    """
    xp, vertex = library(faces), faces.reshape(-1)
    same = vertex[first] == vertex[second]  # both faces pass the edge the same way
    left = xp.concatenate([first, following(first)])
    beyond = following(second)
    right = xp.concatenate([xp.where(same, second, beyond), xp.where(same, beyond, second)])
    return connected_parts(len(vertex), left, right)


def connected_parts(count: int, left: Array, right: Array) -> tuple[int, Array]:
    """Number of parts and the part [count] of each node of the graph with edges (left [m], right [m]).

    Parts are numbered in the order of their lowest nodes. On a GPU: labels fall along edges and through pointers until
    they stand still, O(log n) rounds.
    """
    xp = library(left)
    if isinstance(left, np.ndarray) or left.device.type == "cpu":
        ones = np.ones(len(left), dtype=np.int8)
        graph = sparse.coo_matrix((ones, (np.asarray(left), np.asarray(right))), shape=(count, count))
        parts, part = connected_components(graph, directed=False)
        return parts, xp.asarray(part, dtype=xp.int64)
    label = xp.arange(count, device=left.device)
    while True:
        low = xp.minimum(label[left], label[right])
        fallen = label.scatter_reduce(0, label[left], low, "amin").scatter_reduce_(0, label[right], low, "amin")
        fallen = fallen[fallen]
        fallen = fallen[fallen]
        if xp.equal(fallen, label):
            break
        label = fallen
    names, part = xp.unique(label, return_inverse=True)
    return len(names), part


def consistent_winding(faces: Array, vertex_count: int) -> tuple[Array, int, Array]:
    """Which faces [F] to turn over so that neighbours are wound alike; the number of parts and the part [F] of each.

    Faces are joined across edges with exactly two faces. None of a part that cannot be oriented (a Moebius strip) turn.
    """
    count, edges = len(faces), EdgeTable.build(faces, vertex_count)
    a, b = edges.pairs()
    left, right = a // 3, b // 3
    agree = edges.starts[a] != edges.starts[b]  # neighbours that are wound alike pass their edge opposite ways
    xp = library(left)
    if bool(agree.all()):
        parts, part = connected_parts(count, left, right)
        return xp.zeros_like(part, dtype=bool), parts, part
    # Each face twice, as it is (f) and turned (f + count): what is connected must be chosen together.
    beyond, behind = xp.where(agree, right, right + count), xp.where(agree, right + count, right)
    _, label = connected_parts(2 * count, xp.concatenate([left, left + count]), xp.concatenate([beyond, behind]))
    as_is, turned = label[:count], label[count:]
    names, part = xp.unique(xp.minimum(as_is, turned), return_inverse=True)
    return as_is > turned, len(names), part


def face_vectors(corners: Array) -> Array:
    """Normals [F, 3] of faces with these corners [F, 3 corners, 3]; their length is twice the area."""
    cross: Array = library(corners).linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return cross
