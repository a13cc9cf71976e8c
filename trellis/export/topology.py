"""Edges and connected parts of a triangle mesh, in torch on any device: sorting on a GPU takes milliseconds."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from trellis.representations import Mesh


@dataclass(frozen=True)
class EdgeTable:
    """Half edges of `faces` [F, 3] by the undirected edge they belong to.

    Half edge h = 3 f + k runs from corner k of face f to the next corner. `order` [3 F] lists the half edges edge by
    edge, in rising numbers; `first` [E] is where an edge begins in it, `counts` [E] how many faces it has.
    """

    starts: Tensor
    ends: Tensor
    order: Tensor
    first: Tensor
    counts: Tensor

    @classmethod
    def build(cls, faces: Tensor, vertex_count: int) -> "EdgeTable":
        starts, ends = faces.reshape(-1).long(), faces.roll(-1, dims=1).reshape(-1).long()
        keys = torch.minimum(starts, ends) * vertex_count + torch.maximum(starts, ends)
        keys, order = keys.sort(stable=True)
        _, counts = torch.unique_consecutive(keys, return_counts=True)
        return cls(starts, ends, order, counts.cumsum(0) - counts, counts)

    @property
    def watertight(self) -> bool:
        """Every edge has exactly two faces, and there are edges."""
        return len(self.counts) > 0 and bool((self.counts == 2).all())

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Half edges (a [m], b [m]) of the edges with exactly two faces."""
        first = self.first[self.counts == 2]
        return self.order[first], self.order[first + 1]

    def border(self) -> Tensor:
        """Half edges [n] that have no partner, in rising order."""
        return self.order[self.first[self.counts == 1]].sort().values

    def uses(self) -> Tensor:
        """Number of faces [F, 3] on each face's edges."""
        uses = torch.empty_like(self.order)
        uses[self.order] = self.counts.repeat_interleave(self.counts)
        return uses.reshape(-1, 3)


def connected_parts(count: int, left: Tensor, right: Tensor) -> tuple[int, Tensor]:
    """Number of parts and the part [count] of each node of the graph with edges (left [m], right [m]).

    Parts are numbered in the order of their lowest nodes. On a GPU: labels fall along edges and through pointers until
    they stand still, O(log n) rounds.
    """
    if left.device.type == "cpu":
        ones = np.ones(len(left), dtype=np.int8)
        graph = sparse.coo_matrix((ones, (left.numpy(), right.numpy())), shape=(count, count))
        parts, part = connected_components(graph, directed=False)
        return parts, torch.from_numpy(part).long()
    label = torch.arange(count, device=left.device)
    while True:
        low = torch.minimum(label[left], label[right])
        fallen = label.scatter_reduce(0, label[left], low, "amin").scatter_reduce_(0, label[right], low, "amin")
        fallen = fallen[fallen]
        fallen = fallen[fallen]
        if torch.equal(fallen, label):
            break
        label = fallen
    names, part = torch.unique(label, return_inverse=True)
    return len(names), part


def face_parts(faces: Tensor, vertex_count: int) -> tuple[int, Tensor]:
    """Number of parts and the part [F] of every face; faces that share a vertex belong together."""
    if not len(faces):
        return 0, faces.new_zeros(0, dtype=torch.int64)
    faces = faces.long()
    _, part = connected_parts(
        vertex_count, torch.cat([faces[:, 0], faces[:, 1]]), torch.cat([faces[:, 1], faces[:, 2]])
    )
    names, part = torch.unique(part[faces[:, 0]], return_inverse=True)
    return len(names), part


def with_faces(mesh: Mesh, faces: Tensor) -> Mesh:
    """The mesh with other faces and without the vertices that they leave unused; the order of vertices is kept."""
    faces = faces.long()
    used = torch.zeros(len(mesh.vertices), dtype=torch.bool, device=faces.device)
    used[faces.reshape(-1)] = True
    if bool(used.all()):
        return replace(mesh, faces=faces.int())
    number = used.cumsum(0) - 1
    attributes = None if mesh.attributes is None else mesh.attributes[used]
    return Mesh(mesh.vertices[used], number[faces].int(), attributes)


def face_vectors(mesh: Mesh) -> Tensor:
    """Unnormalised face normals [F, 3] float64; their length is twice the area."""
    a, b, c = mesh.vertices.double()[mesh.faces.long()].unbind(1)
    return torch.linalg.cross(b - a, c - a)


def diagonal(mesh: Mesh) -> float:
    """Length of the diagonal of the bounding box, 0 for an empty mesh."""
    if not len(mesh.vertices):
        return 0.0
    return float(torch.linalg.vector_norm(mesh.vertices.amax(0) - mesh.vertices.amin(0)))


def sum_by(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Sums [count, ...] of float64 `values` [n, ...] by their group [n], to 12 digits of the largest value.

    Added as integers, because a GPU adds floats in another order every time.
    """
    if not len(values):
        return values.new_zeros(count, *values.shape[1:])
    unit = values.abs().amax().clamp_min(1e-300) / 2**40
    whole = (values / unit).round().long()
    return whole.new_zeros(count, *values.shape[1:]).index_add_(0, group, whole) * unit
