"""Faces that no sound mesh has: broken, collapsed, double, or hanging in the air."""

import torch
from torch import Tensor

from trellis.export.topology import diagonal, with_faces
from trellis.ops.half_edges import EdgeTable, connected_parts
from trellis.representations import Mesh

COINCIDENT = 1e-9  # of the diagonal: an edge this short has no length


def remove_faults(mesh: Mesh) -> Mesh:
    """Drop faces with unknown, non-finite or repeated vertices, double faces, fins; unused vertices go too.

    Vertices that are joined by an edge of no length become one, so a collapsed face leaves no slit. Of two faces on
    the same vertices one stays if they run the same way, none if they are back to back.
    """
    faces = mesh.faces.long()
    faces = faces[((faces >= 0) & (faces < len(mesh.vertices))).all(dim=1)]
    finite = torch.isfinite(mesh.vertices).all(dim=1)
    mesh = with_faces(mesh, faces[finite[faces].all(dim=1)])
    faces = _join_coincident(mesh)
    faces = faces[(faces != faces.roll(1, dims=1)).all(dim=1)]
    faces = faces[_single_faces(faces, len(mesh.vertices))]
    return with_faces(mesh, _without_fins(faces, len(mesh.vertices)))


def _join_coincident(mesh: Mesh) -> Tensor:
    """The faces with vertices at the ends of zero-length edges replaced by one of them."""
    faces = mesh.faces.long()
    starts, ends = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    lengths = torch.linalg.vector_norm(mesh.vertices[starts] - mesh.vertices[ends], dim=1)
    short = torch.nonzero(lengths <= COINCIDENT * diagonal(mesh)).squeeze(1)
    if not len(short):
        return faces
    parts, part = connected_parts(len(mesh.vertices), starts[short], ends[short])
    numbers = torch.arange(len(part), device=part.device)
    first = numbers.new_full((parts,), len(part)).scatter_reduce(0, part, numbers, "amin")
    return first[part[faces]]


def _single_faces(faces: Tensor, vertex_count: int) -> Tensor:
    """Mask [F] that keeps the first of equal faces and none of a pair that is back to back."""
    corners = faces.sort(dim=1).values
    edge = corners[:, 0] * vertex_count + corners[:, 1]
    if vertex_count > 2_000_000:  # the product of three vertex numbers would not fit 63 bits
        edge = torch.unique(edge, return_inverse=True)[1]
    key, order = (edge * vertex_count + corners[:, 2]).sort(stable=True)
    again = key[1:] == key[:-1]
    keep = torch.ones(len(faces), dtype=torch.bool, device=faces.device)
    if not bool(again.any()):
        return keep
    first = torch.cat([again.new_ones(1), ~again])
    group = first.cumsum(0) - 1
    a, b, c = faces[order].unbind(1)
    odd = ((a > b).int() + (b > c).int() + (a > c).int()) % 2  # inversions: which way round the face runs
    some_odd, some_even = (
        torch.zeros(int(group[-1]) + 1, dtype=torch.int32, device=faces.device).scatter_reduce(0, group, way, "amax")
        for way in (odd, 1 - odd)
    )
    keep[order] = first & ((some_odd + some_even) == 1)[group]
    return keep


def _without_fins(faces: Tensor, vertex_count: int) -> Tensor:
    """Peel off faces that hang on an edge of three or more faces and end in the open: they enclose nothing."""
    while len(faces):
        uses = EdgeTable.build(faces, vertex_count).uses().reshape(-1, 3)
        fin = (uses > 2).any(dim=1) & (uses == 1).any(dim=1)
        if not bool(fin.any()):
            break
        faces = faces[~fin]
    return faces
