"""Normalisation layers: all compute in float32 and return the dtype they were given."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.ops.segments import Segments, expand_segments, sum_segments


class LayerNorm(nn.Module):
    """LayerNorm over the last axis, with `weight` and `bias` if `affine`."""

    def __init__(self, width: int, *, eps: float, affine: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.shape = (width,)
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:  # the kernel's statistics are float32 whatever x is
            return F.layer_norm(x, self.shape, None, None, self.eps).to(x.dtype)
        return F.layer_norm(x.float(), self.shape, self.weight, self.bias, self.eps).to(x.dtype)


class ChannelLayerNorm(LayerNorm):
    """Affine LayerNorm over the channels of a dense grid [B, C, X, Y, Z], eps 1e-5."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class HeadRMSNorm(nn.Module):
    """Per-head RMS norm of queries or keys [T, H, D]: `normalize(x) * gamma[H, D] * sqrt(D)`."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.gamma = nn.Parameter(torch.ones(heads, width))

    def forward(self, x: Tensor) -> Tensor:
        return (F.normalize(x.float(), dim=-1) * self.gamma * self.scale).to(x.dtype)


class SegmentGroupNorm(nn.Module):
    """GroupNorm of packed tokens [N, C]: statistics of each sample over its own tokens, eps 1e-5."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            mean = self._group_means(values, segments)
            values = values - expand_segments(mean, segments)
            scale = torch.rsqrt(self._group_means(values.square(), segments) + 1e-5) * self.weight
            return (values * expand_segments(scale, segments) + self.bias).to(x.dtype)

    def _group_means(self, values: Tensor, segments: Segments) -> Tensor:
        """Mean of each sample and group, repeated for the group's channels: [segments, C]."""
        sizes = segments.sizes().clamp(min=1)
        sums = sum_segments(values, segments).unflatten(1, (self.groups, -1)) / sizes[:, None, None]
        return sums.mean(2, keepdim=True).expand_as(sums).flatten(1)
