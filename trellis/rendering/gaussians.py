"""Pictures of Gaussian clouds (mip-splatting)."""

import torch

from trellis.geometry.cameras import Cameras
from trellis.geometry.rotations import quaternion_to_matrix
from trellis.ops import rasterize
from trellis.rendering.backgrounds import background_color
from trellis.rendering.images import ColorImages
from trellis.representations import GaussianCloud


def render_gaussians(
    cloud: GaussianCloud,
    cameras: Cameras,
    *,
    size: int,
    background: str | tuple[float, float, float] = "black",
    backend: str = "auto",
) -> ColorImages:
    """Render a cloud into V square images of `size` pixels on the cloud's device.

    background: black, white, grey or an (r, g, b) in 0..1, added by the remaining transmittance. Differentiable in the
    cloud on the reference back end, which `auto` takes when a gradient is wanted.
    Source: spec "Rendering and export", Gaussians. Raises InvalidInputError for unknown options.
    """
    behind = background_color(background).to(cloud.positions)
    cameras = cameras.to(cloud.positions.device)
    axes = quaternion_to_matrix(cloud.rotations.float()) * cloud.scales.float()[:, None, :]
    colors = cloud.colors.float().clamp(min=0)
    images, alphas = [], []
    for extrinsics, intrinsics in zip(cameras.extrinsics, cameras.intrinsics):
        projected = rasterize.project_gaussians(
            cloud.positions.float(),
            axes,
            opacities=cloud.opacities.float().view(-1),
            colors=colors,
            extrinsics=extrinsics,
            intrinsics=intrinsics,
            size=size,
            filter_2d=cloud.filter_2d,
        )
        color, transmittance = rasterize.composite_gaussians(projected, size, backend=backend)
        images.append(color + transmittance * behind[:, None, None])
        alphas.append(1 - transmittance)
    return ColorImages(torch.stack(images), torch.stack(alphas))
