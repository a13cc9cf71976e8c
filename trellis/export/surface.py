"""The working form of a triangle mesh during export: numpy arrays on the CPU, and their topology."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from trellis.representations import Mesh

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """vertices [V, 3] float64 in the world; faces [F, 3] int64, counter-clockwise; attributes [V, k] or None."""

    vertices: Floats
    faces: Ints
    attributes: Floats | None = None

    @classmethod
    def from_mesh(cls, mesh: Mesh) -> "Surface":
        attributes = None if mesh.attributes is None else mesh.attributes.detach().float().cpu().numpy()
        return cls(
            mesh.vertices.detach().double().cpu().numpy().reshape(-1, 3),
            mesh.faces.detach().long().cpu().numpy().reshape(-1, 3),
            attributes,
        )

    def to_mesh(self, device: torch.device | None = None) -> Mesh:
        attributes = None
        if self.attributes is not None:
            attributes = torch.from_numpy(np.ascontiguousarray(self.attributes, dtype=np.float32)).to(device)
        return Mesh(
            torch.from_numpy(np.ascontiguousarray(self.vertices, dtype=np.float32)).to(device),
            torch.from_numpy(np.ascontiguousarray(self.faces, dtype=np.int32)).to(device),
            attributes,
        )

    def with_faces(self, faces: Ints) -> "Surface":
        return replace(self, faces=faces)

    def compacted(self) -> "Surface":
        """The same faces without the vertices that no face uses; the order of vertices is kept."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.faces] = True
        number = np.cumsum(used) - 1
        attributes = None if self.attributes is None else self.attributes[used]
        return Surface(self.vertices[used], number[self.faces], attributes)

    def corners(self) -> Floats:
        """Corner points [F, 3 corners, 3]."""
        return self.vertices[self.faces]

    def face_vectors(self) -> Floats:
        """Unnormalised face normals [F, 3]; their length is twice the area."""
        a, b, c = np.moveaxis(self.corners(), 1, 0)
        return np.cross(b - a, c - a)

    def face_areas(self) -> Floats:
        return 0.5 * np.linalg.norm(self.face_vectors(), axis=1)

    def diagonal(self) -> float:
        """Length of the diagonal of the bounding box, 0 for an empty surface."""
        return float(np.linalg.norm(np.ptp(self.vertices, axis=0))) if len(self.vertices) else 0.0


def directed_edges(faces: Ints) -> Ints:
    """Half edges [3 F, 2]: the first edge of every face, then the second, then the third."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edge_keys(edges: Ints, vertex_count: int) -> Ints:
    """One integer an undirected edge [n]."""
    low, high = edges.min(axis=1), edges.max(axis=1)
    return low * np.int64(vertex_count) + high


@dataclass(frozen=True)
class EdgeReport:
    """Counts of undirected edges: all, with one face (boundary), with three or more (non-manifold)."""

    edges: int
    boundary: int
    non_manifold: int

    @property
    def watertight(self) -> bool:
        """Every edge has exactly two faces."""
        return self.edges > 0 and self.boundary == 0 and self.non_manifold == 0


def edge_report(faces: Ints, vertex_count: int) -> EdgeReport:
    _, counts = np.unique(edge_keys(directed_edges(faces), vertex_count), return_counts=True)
    return EdgeReport(len(counts), int((counts == 1).sum()), int((counts > 2).sum()))


def paired_half_edges(faces: Ints, vertex_count: int) -> tuple[Ints, Ints]:
    """Half edge numbers (a [m], b [m]) of the undirected edges that have exactly two faces; face = number mod F."""
    keys = edge_keys(directed_edges(faces), vertex_count)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, dtype=np.int64)
    counts = np.diff(np.r_[starts, len(ordered)])
    pairs = starts[counts == 2]
    return order[pairs], order[pairs + 1]


def face_components(faces: Ints, vertex_count: int) -> tuple[int, Ints]:
    """Number of parts and the part of every face [F]; faces that share a vertex belong together."""
    if not len(faces):
        return 0, np.zeros(0, dtype=np.int64)
    edges = directed_edges(faces)
    graph = sparse.coo_matrix((np.ones(len(edges), dtype=np.int8), edges.T), shape=(vertex_count, vertex_count))
    _, label = connected_components(graph, directed=False)
    parts, part = np.unique(label[faces[:, 0]], return_inverse=True)
    return len(parts), part.astype(np.int64)


def vertex_normals(surface: Surface) -> Floats:
    """Smooth unit normals [V, 3], faces weighted by their angle at the vertex (Thurmer and Wuthrich 1998).

    Vertices without a usable face get +z, so that every normal has length 1.
    """
    unit = surface.face_vectors()
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    corners = surface.corners()
    normals = np.zeros_like(surface.vertices)
    for i in range(3):
        a = corners[:, (i + 1) % 3] - corners[:, i]
        b = corners[:, (i + 2) % 3] - corners[:, i]
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        angle = np.arccos(np.clip((a * b).sum(axis=1) / np.maximum(lengths, 1e-300), -1, 1))
        for axis in range(3):
            normals[:, axis] += np.bincount(surface.faces[:, i], weights=unit[:, axis] * angle, minlength=len(normals))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])
