"""Tangents of an unwrapped mesh: which way the texture runs at every vertex, as normal maps need it."""

import numpy as np
from numpy.typing import NDArray


def vertex_tangents(
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating],
    *,
    uvs: NDArray[np.floating],
    faces: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Tangents [V, 4] of vertices [V, 3] with unit normals [V, 3], uvs [V, 2] (origin top left) and faces [F, 3].

    xyz is the unit direction in which u grows, at right angles to the normal; w is +1 or -1 such that
    w * cross(normal, xyz) points up in the texture (against v), as the green channel of glTF means it. Corners count by
    their angle, as in MikkTSpace. Where the texture has no direction any tangent that fits the normal is given.
    """
    corners = vertices.astype(np.float64)[faces]
    flat = uvs.astype(np.float64)[faces]
    edges, steps = corners[:, 1:] - corners[:, :1], flat[:, 1:] - flat[:, :1]
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]
    along_u = edges[:, 0] * steps[:, 1, 1:] - edges[:, 1] * steps[:, 0, 1:]
    along_u = _unit(along_u * np.sign(area)[:, None])
    angles = _corner_angles(corners)
    total = np.zeros((len(vertices), 3))
    turns = np.zeros(len(vertices))
    unit_normals = normals.astype(np.float64)
    for corner in range(3):
        index = faces[:, corner]
        flattened = along_u - (along_u * unit_normals[index]).sum(axis=1, keepdims=True) * unit_normals[index]
        weighted = _unit(flattened) * angles[:, corner : corner + 1]
        for axis in range(3):
            total[:, axis] += np.bincount(index, weights=weighted[:, axis], minlength=len(vertices))
        turns += np.bincount(index, weights=-np.sign(area) * angles[:, corner], minlength=len(vertices))
    total -= (total * unit_normals).sum(axis=1, keepdims=True) * unit_normals
    tangents = _unit(total)
    missing = np.linalg.norm(tangents, axis=1) < 0.5
    tangents[missing] = _any_perpendicular(unit_normals[missing])
    return np.concatenate([tangents, np.where(turns < 0, -1.0, 1.0)[:, None]], axis=1).astype(np.float32)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; rows of no length stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-20, vectors / np.maximum(length, 1e-20), 0.0)


def _corner_angles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interior angles [F, 3] in radians of triangles [F, 3, 3]."""
    ahead = _unit(np.roll(corners, -1, axis=1) - corners)
    behind = _unit(np.roll(corners, 1, axis=1) - corners)
    return np.arccos(np.clip((ahead * behind).sum(axis=2), -1, 1))


def _any_perpendicular(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """One unit vector at right angles to each of the unit normals [n, 3]."""
    axis = np.eye(3)[np.abs(normals).argmin(axis=1)]
    return _unit(np.cross(normals, axis))
