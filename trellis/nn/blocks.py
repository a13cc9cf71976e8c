"""Transformer blocks of packed tokens: the same ones serve dense grids and sparse voxels."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trellis.nn.attention import CrossAttention, SelfAttention
from trellis.nn.norm import LayerNorm
from trellis.ops.segments import Segments, broadcast_segments
from trellis.sparse.windows import TokenWindows

BLOCK_EPS = 1e-6
HEAD_EPS = 1e-5  # of the norm before an output layer


class FeedForward(nn.Module):
    """Linear, GELU (tanh), Linear."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        inner = int(width * ratio)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU("tanh"), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class TransformerBlock(nn.Module):
    """Plain block of the latent VAE: norm, attention, residual, norm, MLP, residual; norms without affine."""

    def __init__(self, width: int, heads: int, *, mlp_ratio: float = 4, qk_rms_norm: bool = False) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps=BLOCK_EPS)
        self.norm2 = LayerNorm(width, eps=BLOCK_EPS)
        self.attn = SelfAttention(width, heads, qk_rms_norm=qk_rms_norm)
        self.mlp = FeedForward(width, mlp_ratio)

    def forward(self, x: Tensor, windows: TokenWindows) -> Tensor:
        x = x + self.attn(self.norm1(x), windows)
        return x + self.mlp(self.norm2(x))


def adaptive_modulation(width: int) -> nn.Sequential:
    """SiLU and the Linear (key `1.`) that makes shift, scale, gate of attention and of the MLP from the time."""
    return nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))


class ModulatedCrossBlock(nn.Module):
    """Block of the flow models: modulated self-attention, cross-attention, modulated MLP.

    `modulation` passed to forward is the time embedding [B, C], or with `share_mod` the finished [B, 6 C].
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        cond_width: int,
        mlp_ratio: float = 4,
        qk_rms_norm: bool = False,
        qk_rms_norm_cross: bool = False,
        share_mod: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps=BLOCK_EPS)
        self.norm2 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.norm3 = LayerNorm(width, eps=BLOCK_EPS)
        self.self_attn = SelfAttention(width, heads, qk_rms_norm=qk_rms_norm)
        self.cross_attn = CrossAttention(width, heads, cond_width=cond_width, qk_rms_norm=qk_rms_norm_cross)
        self.mlp = FeedForward(width, mlp_ratio)
        self.adaLN_modulation = None if share_mod else adaptive_modulation(width)

    def forward(
        self, x: Tensor, modulation: Tensor, *, cond: Tensor, windows: TokenWindows, cond_segments: Segments
    ) -> Tensor:
        segments = windows.segments
        if self.adaLN_modulation is not None:
            modulation = self.adaLN_modulation(modulation)
        modulation, grid = broadcast_segments(modulation, x, segments)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        h = (self.norm1(grid) * (1 + scale_a) + shift_a).reshape(x.shape)
        grid = grid + gate_a * self.self_attn(h, windows).reshape(grid.shape)
        h = self.norm2(grid).reshape(x.shape)
        h = self.cross_attn(h, cond, segments=segments, cond_segments=cond_segments)
        grid = grid + h.reshape(grid.shape)
        h = self.mlp(self.norm3(grid) * (1 + scale_m) + shift_m)
        return (grid + gate_m * h).reshape(x.shape)


def run_head(layer: nn.Linear, x: Tensor, *, norm: bool = True) -> Tensor:
    """Output layer in float32, also under autocast, after a LayerNorm without affine (unless `norm` is False)."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        return layer(F.layer_norm(x, x.shape[-1:], eps=HEAD_EPS) if norm else x)


def run_block(block: Callable[..., Tensor], *args: Any, recompute: bool, **kwargs: Any) -> Tensor:
    """Call a block; with `recompute` its activations are computed again in the backward pass to save memory."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *args, use_reentrant=False, **kwargs)
    return block(*args, **kwargs)
