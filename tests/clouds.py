"""Gaussian clouds that several tests share."""

import torch
from torch import Tensor

from trellis.ops.rasterize.scenes import SH_C0
from trellis.representations import GaussianCloud


def round_cloud(positions: Tensor, colors: Tensor, *, scale: float, opacity: float) -> GaussianCloud:
    """Balls of one size at `positions` [n, 3] with `colors` [n, 3] in [0, 1]."""
    rotations = torch.tensor([[1.0, 0, 0, 0]]).repeat(len(positions), 1)
    sizes, opacities = torch.full_like(positions, scale), torch.full_like(positions[:, :1], opacity)
    return GaussianCloud(positions, (colors - 0.5) / SH_C0, sizes, rotations, opacities)


def random_cloud(count: int) -> GaussianCloud:
    rng = torch.Generator().manual_seed(3)
    return GaussianCloud(
        positions=torch.rand(count, 3, generator=rng) - 0.5,
        features_dc=torch.rand(count, 3, generator=rng) * 3 - 1.5,
        scales=torch.rand(count, 3, generator=rng) * 0.01 + 0.0009,
        rotations=torch.nn.functional.normalize(torch.randn(count, 4, generator=rng), dim=1),
        opacities=torch.rand(count, 1, generator=rng),
    )
