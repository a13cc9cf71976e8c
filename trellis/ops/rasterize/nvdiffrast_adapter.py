"""Triangles drawn by nvdiffrast, when installed and asked for. Adapter, untested on hardware; non-commercial licence.

Written from nvdiffrast's public documentation of `RasterizeCudaContext` and `rasterize`.
"""

import importlib

import torch
from torch import Tensor

from trellis.errors import MissingDependencyError


def rasterize_triangles(
    points: Tensor, faces: Tensor, height: int, width: int, *, perspective: bool, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(face_id [H, W] int32, barycentric [H, W, 3], depth [H, W]); see `ops.rasterize.rasterize_triangles`.

    Differentiable in `points`. Raises MissingDependencyError when nvdiffrast is there but does not load.
    """
    try:
        nvdiffrast = importlib.import_module("nvdiffrast.torch")
    except (ImportError, OSError) as error:
        raise MissingDependencyError(f"nvdiffrast is installed but does not load: {error}") from error
    numbers, faces = _usable(points, faces, near)
    if len(numbers) == 0:
        return _nothing(points, height, width)
    positions = _clip_positions(points, height, width, perspective=perspective)
    context = nvdiffrast.RasterizeCudaContext(device=points.device)
    drawn, _ = nvdiffrast.rasterize(
        context, positions[None], faces.int().contiguous(), resolution=[height, width], grad_db=False
    )
    # Channels: weights of the corners 0 and 1, depth of clip space, and the face's number plus one.
    u, v, _, number = drawn[0].unbind(-1)
    found = number > 0
    chosen = (number.long() - 1).clamp(min=0)
    weights = torch.stack([u, v, 1 - u - v], dim=-1) * found[..., None]
    depth = (points[faces[chosen].long()][..., 2] * weights).sum(-1)
    face_id = torch.where(found, numbers[chosen], -1)
    return face_id.int(), weights, depth


def _usable(points: Tensor, faces: Tensor, near: float) -> tuple[Tensor, Tensor]:
    """Indices [m] and corners [m, 3] of the faces that are finite and do not reach nearer than `near`."""
    corners = points.detach()[faces.long()]
    kept = (torch.isfinite(corners).all(2).all(1) & (corners[..., 2] > near).all(1)).nonzero().squeeze(1)
    return kept, faces[kept]


def _clip_positions(points: Tensor, height: int, width: int, *, perspective: bool) -> Tensor:
    """Points [V, 4] of clip space whose picture has its first row at the top, as our pixels have.

    nvdiffrast's rows go upwards and so does its y: handing it our downward y gives rows from the top.
    """
    x = points[:, 0] * (2 / width) - 1
    y = points[:, 1] * (2 / height) - 1
    z = points[:, 2]
    finite = z.detach()[torch.isfinite(z.detach())]
    low, high = (finite.min(), finite.max()) if len(finite) else (z.new_tensor(0.0), z.new_tensor(1.0))
    if not perspective:
        flat = (z - low) / (high - low).clamp(min=1e-12) * 1.8 - 0.9
        return torch.stack([x, y, flat, torch.ones_like(z)], dim=1)
    near = (0.9 * low).clamp(min=1e-3)
    far = torch.maximum(1.1 * high, near + 1e-3)
    scaled = (far + near) / (far - near) * z - 2 * far * near / (far - near)
    return torch.stack([x * z, y * z, scaled, z], dim=1)


def _nothing(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    empty = torch.full((height, width), -1, dtype=torch.int32, device=points.device)
    return empty, points.new_zeros(height, width, 3), points.new_zeros(height, width)
