"""Charts laid flat with as little stretching as possible, all of them in one sparse system.

As-rigid-as-possible parametrisation (Liu et al. 2008): local rotations and global solves take turns, from the
projection along each chart's mean normal on.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from trellis.ops.atlas.topology import Floats, Ints, dots, lengths
from trellis.ops.half_edges import face_vectors

Complexes = NDArray[np.complex128]

MAX_COTANGENT = 20.0  # slivers must not outweigh everything
MIN_COTANGENT = 0.02


def flatten(points: Floats, faces: Ints, chart: Ints, *, iterations: int) -> Floats:
    """Plane coordinates [n, 2], in the units of `points` [n, 3], of charts that share no vertex.

    faces [F, 3] index the points; chart [F] counts from 0. Orientation is kept: faces seen from their front run
    counter-clockwise, but for those that could not be laid flat.
    """
    sides, weights = _own_planes(points, faces)
    flat = _projected(points, faces, chart)
    if iterations:
        vertex_chart = np.zeros(len(points), dtype=np.int64)
        vertex_chart[faces] = chart[:, None]
        _, pins = np.unique(vertex_chart, return_index=True)
        system = _laplacian(faces, weights, len(points), pins)
        symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        solver = splu(system, panel_size=1, **symmetric)  # columns share too little for wide panels to pay
        compared = _comparison(faces, sides, weights, len(points))
        spread = compared.conj().T
        place = flat[:, 0] + 1j * flat[:, 1]
        for _ in range(iterations):
            turn = compared @ place
            target = spread @ (turn / np.maximum(np.abs(turn), 1e-300))
            target[pins] += place[pins]
            flat = solver.solve(target.view(np.float64).reshape(-1, 2))
            place = flat[:, 0] + 1j * flat[:, 1]
    return flat


def _own_planes(points: Floats, faces: Ints) -> tuple[Complexes, Floats]:
    """Faces in their own planes: sides [F, 3] from corner i to i + 1 as x + iy, and the weights [F, 3] of the sides."""
    corners = points[faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    length = lengths(a)
    along = dots(a, b) / np.maximum(length, 1e-300)
    area = lengths(np.cross(a, b))
    across = area / np.maximum(length, 1e-300)
    flat = np.stack([np.zeros(len(faces)), length, along + 1j * across], axis=1)
    sides = np.roll(flat, -1, axis=1) - flat
    # The cotangent of a corner weighs the side opposite to it.
    cotangents = -(sides * np.roll(sides, 1, axis=1).conj()).real / np.maximum(area, 1e-300)[:, None]
    weights = np.clip(cotangents[:, [2, 0, 1]], MIN_COTANGENT, MAX_COTANGENT)
    return sides, weights


def _projected(points: Floats, faces: Ints, chart: Ints) -> Floats:
    """Coordinates [n, 2] in the plane across each chart's mean normal."""
    vectors = face_vectors(points[faces])
    normals = np.stack([np.bincount(chart, weights=column) for column in vectors.T], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])
    helper = np.eye(3)[np.abs(normals).argmin(axis=1)]
    u = np.cross(helper, normals)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(normals, u)
    vertex_chart = np.zeros(len(points), dtype=np.int64)
    vertex_chart[faces] = chart[:, None]
    return np.stack([dots(points, axis[vertex_chart]) for axis in (u, v)], axis=1)


def _laplacian(faces: Ints, weights: Floats, count: int, pins: Ints) -> sparse.csc_matrix:
    start, end, w = faces.ravel(), np.roll(faces, -1, axis=1).ravel(), weights.ravel()
    half = sparse.csc_matrix((w, (start, end)), shape=(count, count))
    total = np.bincount(start, weights=w, minlength=count) + np.bincount(end, weights=w, minlength=count)
    total[pins] += 1
    return sparse.diags(total, format="csc") - half - half.T.tocsc()


def _comparison(faces: Ints, sides: Complexes, weights: Floats, count: int) -> sparse.csr_matrix:
    """Matrix [F, n] from places x + iy to turns that fit every face best, as complex numbers of any length.

    It sums the products of the sides there and the conjugate weighted sides of the face. Its adjoint takes turns of
    length 1 to the right side of the system: the turned weighted sides at their two ends.
    """
    own = (weights * sides).conj()
    values = np.roll(own, 1, axis=1) - own
    return sparse.csr_matrix((values.ravel(), faces.ravel(), np.arange(len(faces) + 1) * 3), shape=(len(faces), count))
