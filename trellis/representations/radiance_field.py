"""Radiance field of voxels that each carry a rank-R product of three vectors (trivec)."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RadianceField:
    """n voxels of side 1 / resolution in the unit cube.

    positions [n, 3] voxel centres in [0, 1]; trivec [n, R, 3, D] (the +1 already added); density [n, R];
    features_dc [n, R, 3]; resolution: voxels along the side of the cube.
    """

    positions: Tensor
    trivec: Tensor
    density: Tensor
    features_dc: Tensor
    resolution: int
