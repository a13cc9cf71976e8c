"""The outline of a picture whose camera is known: the new part of an object is chosen and moved by it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, binary_cross_entropy, grid_sample, max_pool2d

from trellis.conditioning import PreparedImage
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize.radiance_fields import camera_rays

Shift = tuple[float, float]  # voxels to the right and down in the picture
STEPS = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5)
SHIFTS: Sequence[Shift] = [(right, down) for right in STEPS for down in STEPS]
NEARER = 0.02  # what the agreement must gain for a voxel of shift
SOLID, SOFTNESS = 0.57, 0.12  # what of a voxel, between its neighbours, covers a pixel; and how gradually it does


@dataclass(frozen=True)
class Outline:
    """What a picture shows, of the pixels that the new part decides on, and not what is kept.

    wanted [P]: 1 where the object is, and half a voxel around it, because the voxels of a surface reach so far beyond;
    places [P, N, 3]: points along the rays, from -1 to 1 in the cube; occupied [R, R, R]: the voxels of the object, of
    which those in `region` [R, R, R] are to be new; across [2, 3]: the directions to the right and down in the picture.
    """

    wanted: Tensor
    places: Tensor
    occupied: Tensor
    region: Tensor
    across: Tensor

    @classmethod
    @torch.inference_mode(False)  # what autograd works with must have been made so
    def create(cls, picture: PreparedImage, camera: Cameras, occupied: Tensor, region: Tensor) -> "Outline":
        """That of the crop of `picture`, taken by one `camera`, in pixels of about half a voxel."""
        resolution = occupied.shape[0]
        distance, focal = float(camera.positions.norm()), float(camera.intrinsics[0, 0, 0])
        side = int(min(max(2 * resolution * distance / focal, resolution), 4 * resolution))
        alpha = picture.cutout.getchannel("A").crop(picture.box).resize((side, side), Image.Resampling.BOX)
        shown = max_pool2d(torch.from_numpy(np.asarray(alpha).astype(np.float32) / 255)[None], 3, 1, 1)[0]
        eye, rays = camera_rays(camera.extrinsics[0], camera.intrinsics[0], side)
        nearest = -(rays @ eye)[..., None]
        along = torch.linspace(-1, 1, 2 * resolution + 1) * 3**0.5 / 2
        places = 2 * (eye + (nearest + along)[..., None] * rays[:, :, None])
        free, kept = (_covered(grid.float(), places.flatten(0, 1)) for grid in (region, occupied & ~region))
        near = ((free > 0) & (kept <= SOLID)).view(side, side)
        return cls(shown[near], places[near], occupied.clone(), region.clone(), camera.extrinsics[0, :2, :3].clone())

    def place(self, numbers: Tensor) -> tuple[Shift, float]:
        """The one of SHIFTS with which the outline of `numbers` [R, R, R], above 0 inside, agrees best, and how far it
        does; of two that are nearly alike the smaller one.

        A model takes the object of a picture to be in its middle, and in an edit it is where the source is.
        """
        found = {shift: self.agreement(self.moved(numbers, shift) > 0) for shift in SHIFTS}
        best = max(SHIFTS, key=lambda shift: found[shift] - NEARER * (abs(shift[0]) + abs(shift[1])))
        return best, found[best]

    def moved(self, numbers: Tensor, shift: Shift) -> Tensor:
        """`numbers` [R, R, R], moved by `shift`."""
        side = numbers.shape[0]
        move = torch.eye(3, 4).to(numbers)
        move[:, 3] = (numbers.new_tensor(shift) @ self.across.to(numbers)).flip(0) * -2 / side
        grid = affine_grid(move[None], [1, 1, side, side, side], align_corners=False)
        return grid_sample(numbers[None, None], grid, padding_mode="border", align_corners=False)[0, 0]

    def agreement(self, inside: Tensor) -> float:
        """Intersection over union of the outlines of the picture and of the object with `inside` bool [R, R, R]."""
        shown, wanted = self._shown(inside.float()) > SOLID, self.wanted.to(inside.device) > 0.5
        return float((shown & wanted).sum() / (shown | wanted).sum().clamp_min(1))

    def loss(self, inside: Tensor) -> Tensor:
        """How far the outline with `inside`, from 0 to 1, is from the picture's, with a gradient."""
        covered = torch.sigmoid((self._shown(inside) - SOLID) / SOFTNESS).clamp(1e-4, 1 - 1e-4)
        return binary_cross_entropy(covered, self.wanted.to(inside), reduction="sum")

    def _shown(self, inside: Tensor) -> Tensor:
        """How far the object covers each pixel [P]."""
        grid = torch.where(self.region.to(inside.device), inside, self.occupied.to(inside))
        return _covered(grid, self.places.to(grid))


def _covered(grid: Tensor, places: Tensor) -> Tensor:
    """The largest value [P] of `grid` [R, R, R] along rays through `places` [P, N, 3]."""
    values = grid_sample(grid[None, None], places.flip(-1)[None, :, :, None], align_corners=False)
    return values[0, 0, ..., 0].amax(-1)
