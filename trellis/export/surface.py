"""The working form of a triangle mesh while it gets normals and texture coordinates: numpy arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.ops.half_edges import face_vectors
from trellis.representations import Mesh

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """vertices [V, 3] float64 in the world; faces [F, 3] int64, counter-clockwise."""

    vertices: Floats
    faces: Ints

    @classmethod
    def from_mesh(cls, mesh: Mesh) -> "Surface":
        return cls(
            mesh.vertices.detach().double().cpu().numpy().reshape(-1, 3),
            mesh.faces.detach().long().cpu().numpy().reshape(-1, 3),
        )

    def corners(self) -> Floats:
        """Corner points [F, 3 corners, 3]."""
        return self.vertices[self.faces]

    def diagonal(self) -> float:
        """Length of the diagonal of the bounding box, 0 for an empty surface."""
        return float(np.linalg.norm(np.ptp(self.vertices, axis=0))) if len(self.vertices) else 0.0


def vertex_normals(surface: Surface) -> Floats:
    """Smooth unit normals [V, 3], faces weighted by their angle at the vertex (Thurmer and Wuthrich 1998).

    Vertices without a usable face get +z, so that every normal has length 1.
    """
    unit = face_vectors(surface.corners())
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
