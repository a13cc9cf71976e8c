"""Gaussian cloud: activated values in world space."""

from dataclasses import dataclass

from torch import Tensor

SH_C0 = 0.28209479177387814  # the constant spherical harmonic


@dataclass(frozen=True)
class GaussianCloud:
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
