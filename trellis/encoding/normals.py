"""Normals and areas of the faces of a mesh."""

import torch
from torch import Tensor

from trellis.encoding.source_mesh import SourceMesh
from trellis.runtime import has_float64


def face_normals(mesh: SourceMesh, faces: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Unit normals [n, 3] float32 and areas [n] float64 of the faces with the given numbers, by default of all.

    Both are 0 for faces without area.
    """
    corners = mesh.corners(faces)
    exact = corners.double() if has_float64(mesh.device) else corners
    a, b, c = exact.unbind(1)
    product = torch.linalg.cross(b - a, c - a)
    length = torch.linalg.vector_norm(product, dim=1, keepdim=True)
    normals = torch.where(length > 0, product / length.clamp_min(torch.finfo(product.dtype).tiny), 0.0)
    return normals.float(), length[:, 0] / 2
