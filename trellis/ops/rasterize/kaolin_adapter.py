"""Triangles drawn by kaolin, when installed and asked for. Adapter, untested on hardware.

Written from kaolin's public documentation of `kaolin.render.mesh.rasterize`.
"""

import importlib

import torch
from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.ops.rasterize.reference import sample_faces


def rasterize_triangles(
    points: Tensor, faces: Tensor, height: int, width: int, *, perspective: bool, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(face_id [H, W] int32, barycentric [H, W, 3], depth [H, W]); see `ops.rasterize.rasterize_triangles`.

    kaolin tells the nearest face of every pixel; weights and depth are those of the reference on that face,
    differentiable in `points`. Raises MissingDependencyError when kaolin is there but does not load.
    """
    try:
        kaolin = importlib.import_module("kaolin.render.mesh")
    except (ImportError, OSError) as error:
        raise MissingDependencyError(f"kaolin is installed but does not load: {error}") from error
    corners = points.detach()[faces.long()]
    usable = (torch.isfinite(corners).all(2).all(1) & (corners[..., 2] > near).all(1)).nonzero().squeeze(1)
    nothing = torch.full((height, width), -1, dtype=torch.long, device=points.device)
    if len(usable) == 0:
        return sample_faces(nothing, points, faces, perspective=perspective)
    corners = corners[usable]
    # The image plane spans [-1, 1] with y upwards, and the camera looks along -z.
    scale = corners.new_tensor([2 / width, -2 / height])
    plane = corners[..., :2] * scale + corners.new_tensor([-1.0, 1.0])
    z = -corners[..., 2]
    if not perspective:
        z = z - z.amax() - 1  # texture space has depths of any sign
    features = corners.new_zeros(1, len(usable), 3, 1)
    _, found = kaolin.rasterize(height, width, z[None], plane[None], features)
    face_id = torch.where(found[0] >= 0, usable[found[0].clamp(min=0)], nothing)
    return sample_faces(face_id, points, faces, perspective=perspective)
