"""Radiance fields of trivec voxels: front-to-back integration along camera rays."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize import reference_fields
from trellis.ops.rasterize.backends import FIELD_BACKENDS, choose_backend
from trellis.ops.rasterize.scenes import VoxelField


def camera_rays(extrinsics: Tensor, intrinsics: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Origin [3] and unit directions [size, size, 3] in the world, through the pixel centres of one camera."""
    at = (torch.arange(size, device=extrinsics.device, dtype=torch.float32) + 0.5) / size
    x = (at - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (at - intrinsics[1, 2]) / intrinsics[1, 1]
    rays = torch.stack([x.expand(size, size), y[:, None].expand(size, size), torch.ones_like(x).expand(size, size)], 2)
    rotation = extrinsics[:3, :3]
    return -(extrinsics[:3, 3] @ rotation), torch.nn.functional.normalize(rays @ rotation, dim=2)


def integrate_voxels(field: VoxelField, cameras: Cameras, *, size: int, backend: str = "auto") -> tuple[Tensor, Tensor]:
    """Volume-render V cameras: color [V, 3, size, size] over black and remaining transmittance [V, size, size].

    Samples lie at integer multiples of `field.step` from the camera; a ray ends once its transmittance is under 1e-3.
    The cameras must be outside the voxels. Differentiable on the reference back end. Source:
    docs/developer/model-facts.md, section 15. Raises InvalidInputError for an unknown back end.
    """
    if size < 1:
        raise InvalidInputError(f"An image needs at least one pixel, not {size}.")
    if choose_backend(backend, field.trivec, field.density, field.features_dc, among=FIELD_BACKENDS) == "warp":
        # Imported at the call: Warp takes half a second to load.
        from trellis.ops.rasterize import warp_fields

        return warp_fields.integrate_voxels(field, cameras, size)
    pictures = []
    for pose, lens in zip(cameras.extrinsics, cameras.intrinsics):
        origin, directions = camera_rays(pose, lens, size)
        boxes = voxel_boxes(field, pose, lens, size)
        pictures.append(reference_fields.integrate_voxels(field, origin, directions, boxes))
    color, transmittance = zip(*pictures)
    return torch.stack(color), torch.stack(transmittance)


def voxel_boxes(field: VoxelField, extrinsics: Tensor, intrinsics: Tensor, size: int) -> Tensor:
    """Half-open pixel boxes [n, 4] int64 (x0, y0, x1, y1) that hold each voxel's projection; the whole image for voxels
    that reach the camera's plane."""
    offsets = torch.cartesian_prod(*[torch.tensor([0.0, field.side], device=field.corners.device)] * 3)
    corners = (field.corners[:, None] + offsets) @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    z = corners[..., 2:]
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    at = (corners[..., :2] / z.clamp(min=1e-6) * focal + intrinsics[:2, 2]) * size - 0.5
    low = torch.floor(at.amin(1)).clamp(0, size)
    high = (torch.ceil(at.amax(1)) + 1).clamp(0, size)
    behind = z.amin(1) < 1e-3
    low, high = torch.where(behind, 0.0, low), torch.where(behind, float(size), high)
    empty = (high <= low).any(1, keepdim=True)
    return torch.where(empty, 0.0, torch.cat([low, high], dim=1)).long()
