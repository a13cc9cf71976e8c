"""The outline of a picture whose camera is known: the new part of an object is chosen and moved by it."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, grid_sample, max_pool2d

from trellis.conditioning import PreparedImage
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize.radiance_fields import camera_rays

SOLID, SOFTNESS = 0.57, 0.12  # what of a voxel, between its neighbours, covers a pixel; and how gradually it does


@dataclass(frozen=True)
class Outline:
    """wanted [S, S]: 1 where the picture shows the object, and half a voxel around it, because the voxels of a surface
    reach so far beyond; places [S, S, N, 3]: points along the rays of the pixels, from -1 to 1 in the cube; occupied
    [R, R, R]: the voxels of the object, of which those in `region` [R, R, R] are to be new.
    """

    wanted: Tensor
    places: Tensor
    occupied: Tensor
    region: Tensor

    @classmethod
    @torch.inference_mode(False)  # what autograd works with must have been made so
    def create(cls, picture: PreparedImage, camera: Cameras, occupied: Tensor, region: Tensor) -> "Outline":
        """That of the crop of `picture`, taken by one `camera`, in pixels of about half a voxel."""
        resolution = occupied.shape[0]
        distance, focal = float(camera.positions.norm()), float(camera.intrinsics[0, 0, 0])
        side = int(min(max(2 * resolution * distance / focal, resolution), 4 * resolution))
        alpha = picture.cutout.getchannel("A").crop(picture.box).resize((side, side), Image.Resampling.BOX)
        covered = torch.from_numpy(np.asarray(alpha).astype(np.float32) / 255)
        eye, rays = camera_rays(camera.extrinsics[0], camera.intrinsics[0], side)
        nearest = -(rays @ eye)[..., None]
        along = torch.linspace(-1, 1, 2 * resolution + 1) * 3**0.5 / 2
        points = eye + (nearest + along)[..., None] * rays[:, :, None]
        return cls(max_pool2d(covered[None], 3, 1, 1)[0], 2 * points, occupied.clone(), region.clone())

    def agreement(self, inside: Tensor) -> float:
        """Intersection over union of the outlines of the picture and of the object with `inside` bool [R, R, R]."""
        shown, wanted = self._shown(inside.float()) > SOLID, self.wanted.to(inside.device) > 0.5
        return float((shown & wanted).sum() / (shown | wanted).sum())

    def loss(self, inside: Tensor) -> Tensor:
        """How far the outline with `inside`, from 0 to 1, is from the picture's, with a gradient."""
        covered = torch.sigmoid((self._shown(inside) - SOLID) / SOFTNESS).clamp(1e-4, 1 - 1e-4)
        return binary_cross_entropy(covered, self.wanted.to(inside), reduction="sum")

    def _shown(self, inside: Tensor) -> Tensor:
        """How far the object covers each pixel [S, S]."""
        grid = torch.where(self.region.to(inside.device), inside, self.occupied.to(inside))
        places = self.places.to(grid).flip(-1).flatten(0, 1)[None, :, :, None]
        covered = grid_sample(grid[None, None], places, align_corners=False)[0, 0, ..., 0]
        return covered.amax(-1).view(self.wanted.shape)
