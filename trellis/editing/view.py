"""A picture of an asset, to be painted over, and its frame, in which the painted picture comes back."""

import math

import numpy as np
import torch
from PIL import Image

from trellis.asset import Asset
from trellis.conditioning import frame_object
from trellis.conditioning.view import PictureView
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.rendering.gaussians import render_gaussians
from trellis.representations import GaussianCloud

FRONT, FRONT_PITCH = math.pi, math.radians(20)
SIZE, SIZES = 1024, (64, 1024)  # pixels; larger pictures are reduced before a model sees them


def view_picture(asset: Asset, *, yaw: float, pitch: float = 20.0, size: int = SIZE) -> tuple[Image.Image, PictureView]:
    """The asset from one side as an RGBA picture of `size` pixels, and the picture's frame.

    yaw: degrees from the front, towards the object's left; pitch: degrees from above. Raises InvalidInputError for
    values out of range and for an asset without Gaussians.
    """
    if not (math.isfinite(yaw) and -90 <= pitch <= 90 and SIZES[0] <= size <= SIZES[1]):
        raise InvalidInputError(f"A view has a pitch of -90 to 90 degrees and {SIZES[0]} to {SIZES[1]} pixels.")
    if asset.gaussians is None:
        raise InvalidInputError("This asset has no Gaussians to make a picture of: generate a new one with them.")
    camera = orbit_cameras([FRONT + math.radians(yaw)], [math.radians(pitch)])
    picture = _picture(asset.gaussians, camera, size)
    _, box = frame_object(picture)
    whole = PictureView((size, size), (0, 0, size, size), camera)
    return picture, PictureView(whole.size, box, whole.camera_of(box))


def front_picture(cloud: GaussianCloud) -> Image.Image:
    """The front, as an RGBA picture."""
    return _picture(cloud, orbit_cameras([FRONT], [FRONT_PITCH]), SIZE // 2)


def _picture(cloud: GaussianCloud, camera: Cameras, size: int) -> Image.Image:
    images = render_gaussians(cloud, camera, size=size)
    alpha = images.alpha[0]
    color = images.color[0] / alpha.clamp_min(1e-3)
    values = torch.cat([color, alpha[None]]).clamp(0, 1).permute(1, 2, 0)
    return Image.fromarray((values * 255).round().to(torch.uint8).cpu().numpy().astype(np.uint8), "RGBA")
