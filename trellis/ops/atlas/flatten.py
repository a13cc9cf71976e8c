"""Charts laid flat with as little stretching as possible, all of them in one sparse system.

As-rigid-as-possible parametrisation (Liu et al. 2008): local rotations and global solves take turns, from the
projection along each chart's mean normal on.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from trellis.ops.atlas.topology import Floats, Ints

MAX_COTANGENT = 20.0  # slivers must not outweigh everything
MIN_COTANGENT = 0.02


@dataclass(frozen=True)
class _Triangles:
    """Faces in their own planes: sides [F, 3 sides, 2] from corner i to i + 1, weights [F, 3] of the sides."""

    sides: Floats
    weights: Floats


def flatten(points: Floats, faces: Ints, chart: Ints, *, iterations: int) -> Floats:
    """Plane coordinates [n, 2], in the units of `points` [n, 3], of charts that share no vertex.

    faces [F, 3] index the points; chart [F] counts from 0. Orientation is kept: faces seen from their front run
    counter-clockwise, but for those that could not be laid flat.
    """
    triangles = _own_planes(points, faces)
    flat = _projected(points, faces, chart)
    if iterations:
        vertex_chart = np.zeros(len(points), dtype=np.int64)
        vertex_chart[faces] = chart[:, None]
        _, pins = np.unique(vertex_chart, return_index=True)
        system = _laplacian(faces, triangles.weights, len(points), pins)
        solver = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        for _ in range(iterations):
            flat = solver.solve(_right_side(flat, faces, triangles, pins))
    return flat


def _own_planes(points: Floats, faces: Ints) -> _Triangles:
    corners = points[faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = np.linalg.norm(a, axis=1)
    along = (a * b).sum(axis=1) / np.maximum(length, 1e-300)
    area = np.linalg.norm(np.cross(a, b), axis=1)
    across = area / np.maximum(length, 1e-300)
    zero = np.zeros_like(length)
    flat = np.stack([np.stack([zero, zero], 1), np.stack([length, zero], 1), np.stack([along, across], 1)], axis=1)
    sides = np.roll(flat, -1, axis=1) - flat
    # The cotangent of a corner weighs the side opposite to it.
    cotangents = np.stack([-(sides[:, i] * sides[:, i - 1]).sum(axis=1) for i in range(3)], axis=1)
    cotangents /= np.maximum(area, 1e-300)[:, None]
    weights = np.clip(cotangents[:, [2, 0, 1]], MIN_COTANGENT, MAX_COTANGENT)
    return _Triangles(sides, weights)


def _projected(points: Floats, faces: Ints, chart: Ints) -> Floats:
    """Coordinates [n, 2] in the plane across each chart's mean normal."""
    corners = points[faces]
    vectors = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack([np.bincount(chart, weights=column) for column in vectors.T], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])
    helper = np.eye(3)[np.abs(normals).argmin(axis=1)]
    u = np.cross(helper, normals)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(normals, u)
    vertex_chart = np.zeros(len(points), dtype=np.int64)
    vertex_chart[faces] = chart[:, None]
    return np.stack([(points * u[vertex_chart]).sum(axis=1), (points * v[vertex_chart]).sum(axis=1)], axis=1)


def _laplacian(faces: Ints, weights: Floats, count: int, pins: Ints) -> sparse.csc_matrix:
    start, end = faces, np.roll(faces, -1, axis=1)
    rows = np.concatenate([start.ravel(), end.ravel(), start.ravel(), end.ravel(), pins])
    columns = np.concatenate([end.ravel(), start.ravel(), start.ravel(), end.ravel(), pins])
    w = weights.ravel()
    values = np.concatenate([-w, -w, w, w, np.ones(len(pins))])
    return sparse.coo_matrix((values, (rows, columns)), shape=(count, count)).tocsc()


def _right_side(flat: Floats, faces: Ints, triangles: _Triangles, pins: Ints) -> Floats:
    """Weighted sides [n, 2] after the rotation of every face that fits `flat` best."""
    moved = flat[np.roll(faces, -1, axis=1)] - flat[faces]
    sides, w = triangles.sides, triangles.weights
    cos = (w * (moved * sides).sum(axis=2)).sum(axis=1)
    sin = (w * (moved[..., 1] * sides[..., 0] - moved[..., 0] * sides[..., 1])).sum(axis=1)
    size = np.maximum(np.hypot(cos, sin), 1e-300)
    cos, sin = (cos / size)[:, None], (sin / size)[:, None]
    turned = (w * (cos * sides[..., 0] - sin * sides[..., 1]), w * (sin * sides[..., 0] + cos * sides[..., 1]))
    ends, starts = np.roll(faces, -1, axis=1).ravel(), faces.ravel()
    result = np.stack(
        [
            np.bincount(ends, weights=values.ravel(), minlength=len(flat))
            - np.bincount(starts, weights=values.ravel(), minlength=len(flat))
            for values in turned
        ],
        axis=1,
    )
    result[pins] += flat[pins]
    return result
