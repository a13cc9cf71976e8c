"""Gaussians drawn by gsplat, when installed and asked for. Adapter, untested on hardware.

Written from gsplat's public documentation of `gsplat.rasterization`. It differs from the other back ends in where a
Gaussian ends, in the largest alpha, and in the order of Gaussians of equal depth.
"""

import importlib

import torch
from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize.scenes import NEAR, Gaussians


def splat_gaussians(cloud: Gaussians, cameras: Cameras, *, size: int) -> tuple[Tensor, Tensor]:
    """(color [V, 3, size, size], transmittance [V, size, size]); see `ops.rasterize.splat_gaussians`. Differentiable.

    Its `antialiased` mode is the mip filter of the opacity.
    Raises MissingDependencyError when gsplat is there but cannot build its kernels.
    """
    try:
        gsplat = importlib.import_module("gsplat")
    except (ImportError, OSError) as error:
        raise MissingDependencyError(f"gsplat is installed but does not load: {error}") from error
    pixels = torch.tensor([size, size, 1.0], device=cloud.positions.device)[:, None]
    images, alphas, _ = gsplat.rasterization(
        means=cloud.positions,
        quats=cloud.rotations,
        scales=cloud.scales,
        opacities=cloud.opacities.view(-1),
        colors=cloud.colors.clamp(min=0),
        viewmats=cameras.extrinsics.float(),
        Ks=cameras.intrinsics.float() * pixels,
        width=size,
        height=size,
        near_plane=NEAR,
        eps2d=cloud.filter_2d,
        rasterize_mode="antialiased",
    )
    return images.permute(0, 3, 1, 2), 1 - alphas[..., 0]
