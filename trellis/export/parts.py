"""Connected parts of a mesh: floaters go, the rest is wound outward."""

import torch
from torch import Tensor

from trellis.export.topology import face_corners, face_parts, sum_by, with_faces
from trellis.ops.half_edges import EdgeTable, connected_parts, face_vectors
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

    Faces are joined across edges with exactly two faces; a part that cannot be oriented (a Moebius strip) stays as
    it is. Shells inside others are turned outward like all parts.
    """
    count = len(mesh.faces)
    if not count:
        return mesh
    edges = EdgeTable.build(mesh.faces, len(mesh.vertices))
    a, b = edges.pairs()
    left, right = a // 3, b // 3
    agree = edges.starts[a] != edges.starts[b]  # neighbours that are wound alike pass their edge opposite ways
    faces = mesh.faces
    if bool(agree.all()):
        pieces, piece = connected_parts(count, left, right)
    else:
        # Each face twice, as it is (f) and turned (f + count): what is connected must be chosen together.
        twice_left = torch.cat([left, left + count])
        twice_right = torch.cat([torch.where(agree, right, right + count), torch.where(agree, right + count, right)])
        _, label = connected_parts(2 * count, twice_left, twice_right)
        as_is, turned = label[:count], label[count:]
        faces = torch.where((as_is > turned)[:, None], faces.flip(1), faces)
        names, piece = torch.unique(torch.minimum(as_is, turned), return_inverse=True)
        pieces = len(names)
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
