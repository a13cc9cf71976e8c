"""Connected parts of a mesh: floaters go, the rest is wound outward."""

import torch
from torch import Tensor

from trellis.export.topology import face_corners, face_parts, sum_by, with_faces
from trellis.ops.half_edges import consistent_winding, face_vectors
from trellis.representations import Mesh


def remove_floaters(mesh: Mesh, *, min_area: float, min_extent: float) -> Mesh:
    """Drop the parts whose area and extent are both below these fractions of the largest part's."""
    count, part = face_parts(mesh.faces, len(mesh.vertices))
    if count < 2:
        return mesh
    areas = sum_by(torch.linalg.vector_norm(face_vectors(face_corners(mesh)), dim=1), part, count)
    corners = mesh.vertices[mesh.faces.long()]
    groups = part[:, None].expand(-1, 3)
    low = corners.new_full((count, 3), torch.inf).scatter_reduce(0, groups, corners.amin(1), "amin")
    high = corners.new_full((count, 3), -torch.inf).scatter_reduce(0, groups, corners.amax(1), "amax")
    extents = torch.linalg.vector_norm(high - low, dim=1)
    small = (areas < min_area * areas.amax()) & (extents < min_extent * extents.amax())
    return with_faces(mesh, mesh.faces[~small[part]]) if bool(small.any()) else mesh


def orient(mesh: Mesh) -> Mesh:
    """Wind the faces of every part alike and outward (positive volume).

    What cannot be wound alike (a Moebius strip) stays as it is. Shells inside others are turned outward like all parts.
    """
    if not len(mesh.faces):
        return mesh
    turned, pieces, piece = consistent_winding(mesh.faces, len(mesh.vertices))
    faces = torch.where(turned[:, None], mesh.faces.flip(1), mesh.faces)
    wound = Mesh(mesh.vertices, faces, mesh.attributes)
    inward = sum_by(_cone_volumes(wound, piece, pieces), piece, pieces) < 0
    return Mesh(mesh.vertices, torch.where(inward[piece][:, None], faces.flip(1), faces), mesh.attributes)


def _cone_volumes(mesh: Mesh, piece: Tensor, pieces: int) -> Tensor:
    """Signed volume [F] of the cone from the centre of each face's piece: sensible for open pieces too."""
    corners = face_corners(mesh)
    sizes = torch.bincount(piece, minlength=pieces).clamp_min(1)[:, None]
    centres = sum_by(corners.mean(dim=1), piece, pieces) / sizes
    a, b, c = (corners - centres[piece][:, None]).unbind(1)
    return (a * torch.linalg.cross(b, c)).sum(dim=1) / 6
