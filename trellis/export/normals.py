"""Vertex normals: smooth over rounded parts, split along creases, so that a box looks like a box."""

import math
from dataclasses import dataclass

import numpy as np

from trellis.export.surface import Floats, Ints, Surface
from trellis.ops.half_edges import EdgeTable, corner_fans, face_vectors

CREASE_DEGREES = 45.0


@dataclass(frozen=True)
class CornerNormals:
    """normals [G, 3] unit, one a smoothing group; groups [F, 3] int64 numbers the group of every corner of a face.

    All corners of a group lie at one vertex of the surface.
    """

    normals: Floats
    groups: Ints


def corner_normals(surface: Surface) -> CornerNormals:
    """Normals of the corners of `surface`, shared across edges whose faces differ by no more than CREASE_DEGREES.

    Within a group faces count by their angle at the vertex times their area, so that the large faces beside a narrow
    bevel stay flat. Groups without a usable face get +z, so that every normal has length 1.
    """
    vectors = face_vectors(surface.corners())
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.where(length > 0, vectors / np.maximum(length, 1e-300), 0.0)
    groups = _corner_groups(surface, unit)
    weighted = vectors[:, None] * _corner_angles(surface)[..., None]
    count = int(groups.max(initial=-1)) + 1
    flat = groups.reshape(-1)
    sums = [np.bincount(flat, weights=weighted[..., axis].reshape(-1), minlength=count) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    # By the size of what went in: a fold back on itself cancels out and has no direction.
    scale = np.bincount(flat, weights=np.linalg.norm(weighted, axis=2).reshape(-1), minlength=count)[:, None]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    usable = length > 1e-9 * scale
    return CornerNormals(np.where(usable, normals / np.where(usable, length, 1.0), [0.0, 0.0, 1.0]), groups)


def _corner_groups(surface: Surface, unit: Floats) -> Ints:
    """Group numbers [F, 3]: corners at one vertex are joined across smooth edges between two faces."""
    edges = EdgeTable.build(surface.faces, len(surface.vertices))
    a, b = edges.pairs()
    opposite = edges.starts[a] != edges.starts[b]  # faces that are wound alike
    na, nb = unit[a // 3], unit[b // 3]
    no_area = ~(na.any(axis=1) & nb.any(axis=1))
    # Rounding must not tell the equal angles of a regular shape apart.
    smooth = opposite & (no_area | ((na * nb).sum(axis=1) >= math.cos(math.radians(CREASE_DEGREES)) - 1e-6))
    _, group = corner_fans(surface.faces, a[smooth], b[smooth])
    return group.reshape(-1, 3)


def _corner_angles(surface: Surface) -> Floats:
    """Interior angles [F, 3] in radians."""
    corners = surface.corners()
    a = np.roll(corners, -1, axis=1) - corners
    b = np.roll(corners, 1, axis=1) - corners
    lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    return np.arccos(np.clip((a * b).sum(axis=2) / np.maximum(lengths, 1e-300), -1, 1))
