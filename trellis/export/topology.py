"""Parts and measures of a triangle mesh, in torch on any device: sorting on a GPU takes milliseconds."""

from dataclasses import replace

import torch
from torch import Tensor

from trellis.ops.half_edges import connected_parts
from trellis.representations import Mesh


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


def face_corners(mesh: Mesh) -> Tensor:
    """Corners [F, 3 corners, 3] of the faces, float64."""
    return mesh.vertices.double()[mesh.faces.long()]


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
