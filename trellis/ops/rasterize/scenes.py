"""What the rasterisers of volumes draw, as one object each down to the kernels, and the rules that back ends share."""

import functools
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

SH_C0 = 0.28209479177387814  # the constant spherical harmonic
# Of Gaussians: side of a tile in pixels, nearest camera z, least alpha that is drawn, least determinant.
TILE = 16
NEAR = 0.2
MIN_ALPHA = 1 / 255
FLOOR = 1e-6


@dataclass(frozen=True)
class Volume:
    """Tensors that are drawn together."""

    def to(self, device: torch.device) -> Self:
        """The same in float32 on `device`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: v.to(device).float() for k, v in values.items() if isinstance(v, Tensor)})


@dataclass(frozen=True)
class Gaussians(Volume):
    """n Gaussians in world space, every value activated.

    positions [n, 3] in the cube [-0.5, 0.5]^3; features_dc [n, 3] (colour = 0.5 + SH_C0 * features_dc);
    scales [n, 3] standard deviations including the minimum kernel; rotations [n, 4] unit quaternions (w, x, y, z);
    opacities [n, 1] in [0, 1]; filter_2d is the low-pass kernel of the screen in squared pixels.
    """

    positions: Tensor
    features_dc: Tensor
    scales: Tensor
    rotations: Tensor
    opacities: Tensor
    filter_2d: float = 0.1

    def __len__(self) -> int:
        return self.positions.shape[0]

    @property
    def colors(self) -> Tensor:
        """Unclamped colours [n, 3]."""
        return 0.5 + SH_C0 * self.features_dc


@dataclass(frozen=True)
class ScreenGaussians:
    """n Gaussians of one image, sorted front to back.

    means [n, 2] in pixels, the centre of pixel i being i; conics [n, 3] inverse covariance (xx, xy, yy);
    opacities [n] after the mip filter; colors [n, 3]; boxes [n, 4] int64 half-open pixel ranges (x0, y0, x1, y1): all
    pixels that the Gaussian's tiles hold and where its alpha can reach 1/255.
    """

    means: Tensor
    conics: Tensor
    opacities: Tensor
    colors: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class VoxelField(Volume):
    """n distinct voxels of side 1 / resolution in the unit cube, each with a rank-R product of three vectors.

    positions [n, 3] voxel centres in [0, 1]; trivec [n, R, 3, D] with D >= 2; density [n, R]; features_dc [n, R, 3];
    resolution: voxels along the side of the cube, which is [-0.5, 0.5]^3 in the world.
    """

    positions: Tensor
    trivec: Tensor
    density: Tensor
    features_dc: Tensor
    resolution: int

    @property
    def side(self) -> float:
        """Length of a voxel in the world."""
        return 1 / self.resolution

    @property
    def step(self) -> float:
        """Distance between samples along a ray: half a cell."""
        return 0.5 / self.trivec.shape[3] * self.side

    @property
    def coords(self) -> Tensor:
        """Voxels [n, 3] int64 in 0..resolution-1."""
        return (self.positions * self.resolution).floor().long()

    @functools.cached_property
    def corners(self) -> Tensor:
        """Low corners [n, 3] in the world."""
        return self.coords.float() * self.side - 0.5

    @functools.cached_property
    def far_corners(self) -> Tensor:
        """High corners [n, 3] in the world: the very numbers that are the neighbours' low corners."""
        return (self.coords + 1).float() * self.side - 0.5
