"""Pictures of Gaussian clouds (mip-splatting)."""

from trellis.geometry.cameras import Cameras
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
    cloud on the reference back end, which `auto` takes when a gradient is wanted, and on gsplat.
    Source: docs/developer/model-facts.md, section 14. Raises InvalidInputError for unknown options.
    """
    source = cloud.positions.device
    device = rasterize.rendering_device(source, backend, cloud.positions, cloud.features_dc, cloud.opacities)
    behind = background_color(background)
    color, transmittance = rasterize.splat_gaussians(cloud.to(device), cameras.to(device), size=size, backend=backend)
    if behind.any():  # adding black would copy every image
        color = color + transmittance[:, None] * behind.to(device)[:, None, None]
    return ColorImages(color.to(source), (1 - transmittance).to(source))
