"""Convolutional layers: on occupied voxels, and on dense grids."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.nn.norm import ChannelLayerNorm, LayerNorm, SegmentGroupNorm
from trellis.ops.segments import broadcast_segments
from trellis.ops.sparse_conv import spconv_adapter, submanifold_conv, submanifold_conv_of_subdivided
from trellis.sparse import SparseTensor, VoxelLayout, downsample, subdivide, subdivided, upsample

BLOCK_EPS = 1e-6


class ConvWeights(nn.Module):
    """weight [out, k, k, k, in] and bias [out] of a sparse convolution, under the published names."""

    def __init__(self, width: int, out_width: int, *, kernel: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width * kernel**3)
        self.weight = nn.Parameter(torch.empty(out_width, kernel, kernel, kernel, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_width).uniform_(-bound, bound))


class SparseConv3d(nn.Module):
    """Submanifold convolution 3^3: the occupied voxels stay the same."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = ConvWeights(width, out_width, kernel=3)
        self.backend: str | None = None  # of sparse_conv, or spconv where that can do it; None: the fastest
        self.spconv_algorithm = "auto"  # the fastest measured

    def forward(self, x: SparseTensor) -> SparseTensor:
        if self.backend == "spconv" and spconv_adapter.is_usable(x.feats):
            return x.replace(self._by_spconv(x))
        weight, bias = self.conv.weight, self.conv.bias
        feats = submanifold_conv(x.feats, weight, bias=bias, neighbours=x.layout.neighbours, backend=self.backend)
        return x.replace(feats)

    def _by_spconv(self, x: SparseTensor) -> Tensor:
        algorithm = self.spconv_algorithm
        if algorithm == "auto":
            out_width, *_, width = self.conv.weight.shape
            algorithm = spconv_adapter.fastest_algorithm(
                x.feats.device, x.feats.dtype, width=width, out_width=out_width
            )
        return spconv_adapter.convolve(
            x.feats,
            self.conv.weight,
            bias=self.conv.bias,
            coords=x.coords,
            resolution=x.resolution,
            batch_size=x.batch_size,
            indices=x.layout.cached("spconv", dict),
            algorithm=algorithm,
        )

    def of_subdivided(self, x: SparseTensor) -> SparseTensor:
        """`self(subdivide(x))`, with a third of the products and without the subdivided features."""
        weight, bias = self.conv.weight, self.conv.bias
        feats = submanifold_conv_of_subdivided(
            x.feats, weight, bias=bias, neighbours=x.layout.neighbours, backend=self.backend
        )
        return SparseTensor(feats, subdivided(x.layout))


class SparsePointwise(nn.Module):
    """1^3 convolution; the stored [out, 1, 1, 1, in] is read as a row-major [in, out] matrix, as it was trained."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = ConvWeights(width, out_width, kernel=1)

    def forward(self, x: SparseTensor) -> SparseTensor:
        matrix = self.conv.weight.reshape(x.feats.shape[1], -1)
        return x.replace(F.linear(x.feats, matrix.t(), self.conv.bias))


class SparseResidualBlock(nn.Module):
    """Residual block of the latent flow, conditioned on time; first resamples its input.

    resample: None, "down" or "up" (then forward needs the fine layout to return to).
    """

    def __init__(self, width: int, out_width: int, *, time_width: int, resample: str | None = None) -> None:
        super().__init__()
        assert resample in (None, "down", "up")
        self.resample = resample
        self.norm1 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.norm2 = LayerNorm(out_width, eps=BLOCK_EPS)
        self.conv1 = SparseConv3d(width, out_width)
        self.conv2 = SparseConv3d(out_width, out_width)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * out_width))
        self.skip_connection = nn.Linear(width, out_width) if width != out_width else nn.Identity()

    def forward(self, x: SparseTensor, time: Tensor, *, fine: VoxelLayout | None = None) -> SparseTensor:
        if self.resample == "down":
            x = downsample(x)
        h, skip = x.replace(F.silu(self.norm1(x.feats))), x.replace(self.skip_connection(x.feats))
        if self.resample == "up":  # behind what works on each voxel alone: fine voxels repeat their parents
            assert fine is not None
            h, skip = upsample(h, fine), upsample(skip, fine)
        h = self.conv1(h)
        modulation, grid = broadcast_segments(self.emb_layers(time), h.feats, h.layout.segments)
        scale, shift = modulation.chunk(2, dim=-1)
        h = h.replace(F.silu(self.norm2(grid) * (1 + scale) + shift).reshape(h.feats.shape))
        return h.replace(self.conv2(h).feats + skip.feats)


class SubdivideBlock(nn.Module):
    """Doubles the resolution in the mesh decoder: GroupNorm, SiLU, subdivide, conv, GroupNorm, SiLU, conv; skip."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.act_layers = nn.Sequential(SegmentGroupNorm(32, width), nn.SiLU())
        self.out_layers = nn.Sequential(
            SparseConv3d(width, out_width),
            SegmentGroupNorm(32, out_width),
            nn.SiLU(),
            SparseConv3d(out_width, out_width),
        )
        self.skip_connection = SparsePointwise(width, out_width)

    def forward(self, x: SparseTensor) -> SparseTensor:
        conv1, norm, _, conv2 = self.out_layers
        assert isinstance(conv1, SparseConv3d)
        h = conv1.of_subdivided(x.replace(F.silu(self.act_layers[0](x.feats, x.layout.segments))))
        h = conv2(h.replace(F.silu(norm(h.feats, h.layout.segments))))
        return h.replace(h.feats + subdivide(self.skip_connection(x)).feats)


class DenseResidualBlock(nn.Module):
    """Residual block of the structure VAE on [B, C, X, Y, Z]: norm, SiLU, conv, norm, SiLU, conv."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(width)
        self.norm2 = ChannelLayerNorm(out_width)
        self.conv1 = nn.Conv3d(width, out_width, 3, padding=1)
        self.conv2 = nn.Conv3d(out_width, out_width, 3, padding=1)
        self.skip_connection = nn.Conv3d(width, out_width, 1) if width != out_width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.conv2(F.silu(self.norm2(h))) + self.skip_connection(x)


class DenseDownsample(nn.Module):
    """Halves the grid: 2^3 convolution of stride 2."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, out_width, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class DenseUpsample(nn.Module):
    """Doubles the grid: 3^3 convolution to 8 times the channels, then channel c * 8 + dx * 4 + dy * 2 + dz moves."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, 8 * out_width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).unflatten(1, (-1, 2, 2, 2))
        b, c, _, _, _, i, j, k = x.shape
        return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c, 2 * i, 2 * j, 2 * k)
