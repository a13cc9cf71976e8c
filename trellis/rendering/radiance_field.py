"""Pictures of radiance fields."""

from trellis.geometry.cameras import Cameras
from trellis.ops import rasterize
from trellis.rendering.backgrounds import background_color
from trellis.rendering.images import ColorImages
from trellis.representations import RadianceField


def render_radiance_field(
    field: RadianceField,
    cameras: Cameras,
    *,
    size: int,
    background: str | tuple[float, float, float] = "black",
    backend: str = "auto",
) -> ColorImages:
    """Render a field into V square images of `size` pixels on the field's device.

    background: black, white, grey or an (r, g, b) in 0..1, added by the remaining transmittance. Cameras must be
    outside the voxels. Differentiable in the field on the reference back end, which `auto` takes when a gradient is
    wanted.
    Source: docs/developer/model-facts.md, section 15. Raises InvalidInputError for unknown options.
    """
    source = field.positions.device
    device = rasterize.rendering_device(source, backend, field.trivec, field.density, field.features_dc)
    behind = background_color(background)
    color, transmittance = rasterize.integrate_voxels(field.to(device), cameras.to(device), size=size, backend=backend)
    if behind.any():  # adding black would copy every image
        color = color + transmittance[:, None] * behind.to(device)[:, None, None]
    return ColorImages(color.to(source), (1 - transmittance).to(source))
