"""Gaussian splatting with the mip filter: one function for all back ends, and the reference's projection."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.geometry.rotations import quaternion_to_matrix
from trellis.ops.rasterize import gsplat_adapter, reference
from trellis.ops.rasterize.backends import GAUSSIAN_BACKENDS, choose_backend
from trellis.ops.rasterize.scenes import FLOOR, MIN_ALPHA, NEAR, TILE, Gaussians, ScreenGaussians


def splat_gaussians(cloud: Gaussians, cameras: Cameras, *, size: int, backend: str = "auto") -> tuple[Tensor, Tensor]:
    """Draw Gaussians into V cameras: color [V, 3, size, size] over black and remaining transmittance [V, size, size].

    All tensors are float32 on one device. `size` pixels a side; filter_2d is added to the screen covariance, opacity
    being scaled by the change of area; colours below 0 are 0 (source: docs/developer/model-facts.md, section 14).
    alpha = min(0.99, opacity exp(power)); alphas under 1/255 are skipped; a pixel is finished when its transmittance
    would fall under 1e-4. Differentiable on the reference back end and gsplat.
    Raises InvalidInputError for an unknown back end or an image without pixels.
    """
    if size < 1:
        raise InvalidInputError(f"An image needs at least one pixel, not {size}.")
    tensors = (cloud.positions, cloud.rotations, cloud.scales, cloud.opacities, cloud.features_dc)
    chosen = choose_backend(backend, *tensors, among=GAUSSIAN_BACKENDS)
    if chosen == "warp":
        # Imported at the call: Warp takes half a second to load.
        from trellis.ops.rasterize import warp_gaussians

        return warp_gaussians.splat_gaussians(cloud, cameras, size=size)
    if chosen == "gsplat":
        return gsplat_adapter.splat_gaussians(cloud, cameras, size=size)
    pictures = [reference.composite_gaussians(project_gaussians(cloud, camera, size), size) for camera in cameras]
    color, transmittance = zip(*pictures)
    return torch.stack(color), torch.stack(transmittance)


def project_gaussians(cloud: Gaussians, camera: Cameras, size: int) -> ScreenGaussians:
    """Project Gaussians into one camera (EWA) and sort them by camera z, in plain torch; see `splat_gaussians`.

    Differentiable.
    """
    extrinsics, intrinsics = camera.extrinsics[0], camera.intrinsics[0]
    axes = quaternion_to_matrix(cloud.rotations) * cloud.scales[:, None, :]
    rotation = extrinsics[:3, :3]
    camera_points = torch.addmm(extrinsics[:3, 3], cloud.positions, rotation.T)
    visible = camera_points[:, 2] > NEAR
    z = torch.where(visible, camera_points[:, 2], 1.0)
    ratio = camera_points[:, :2] / z[:, None]
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]]) * size
    means = ratio * focal + intrinsics[:2, 2] * size - 0.5
    limit = 1.3 * 0.5 * size / focal
    slope = torch.maximum(torch.minimum(ratio, limit), -limit)
    rows = (focal / z[:, None])[:, :, None] * (rotation[:2] - slope[:, :, None] * rotation[2])
    spread = rows @ axes
    plain = torch.stack([(spread[:, 0] ** 2).sum(1), (spread[:, 0] * spread[:, 1]).sum(1), (spread[:, 1] ** 2).sum(1)])
    a, b, c = plain[0] + cloud.filter_2d, plain[1], plain[2] + cloud.filter_2d
    before = (plain[0] * plain[2] - b * b).clamp(min=FLOOR)
    after = (a * c - b * b).clamp(min=FLOOR)
    kept = visible & (before > FLOOR) & (after > FLOOR)
    opacities = torch.where(kept, cloud.opacities.view(-1) * (before / (after + FLOOR) + FLOOR).sqrt(), 0.0)
    conics = torch.stack([c, -b, a], dim=1) / after[:, None]
    boxes = _boxes(means.detach(), torch.stack([a, b, c], 1).detach(), opacities.detach(), size)
    order = torch.argsort(torch.where(kept, z, torch.inf).detach(), stable=True)
    colors = cloud.colors.clamp(min=0)
    return ScreenGaussians(means[order], conics[order], opacities[order], colors[order], boxes[order])


def _boxes(means: Tensor, covariance: Tensor, opacities: Tensor, size: int) -> Tensor:
    """Pixels [n, 4] in the tiles within three standard deviations, less those where alpha stays under 1/255."""
    half = 0.5 * (covariance[:, 0] + covariance[:, 2])
    determinant = covariance[:, 0] * covariance[:, 2] - covariance[:, 1] ** 2
    radius = torch.ceil(3 * (half + (half * half - determinant).clamp(min=0.1).sqrt()).sqrt())[:, None]
    tiles = -(-size // TILE)
    low = ((means - radius) / TILE).trunc().clamp(0, tiles) * TILE
    high = (((means + radius + TILE - 1) / TILE).trunc().clamp(0, tiles) * TILE).clamp(max=size)
    power = 2 * torch.log((opacities / MIN_ALPHA).clamp(min=1e-30))
    reach = (power.clamp(min=0)[:, None] * covariance[:, [0, 2]]).sqrt() * 1.001 + 0.01  # wide of rounding
    low = torch.maximum(low, torch.ceil(means - reach))
    high = torch.minimum(high, torch.floor(means + reach) + 1)
    seen = (power >= 0) & (high > low).all(1) & torch.isfinite(means).all(1) & torch.isfinite(covariance).all(1)
    return torch.where(seen[:, None], torch.cat([low, high], dim=1), 0.0).long()
