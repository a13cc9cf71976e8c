"""Layers of the shape models: two streams of tokens under a time, and plain blocks; all without a gradient.

Tokens are rows [B L, C] of B samples, in the torso's precision, and change in place. Keys are the published ones; the
gains of norms and their statistics are float32. Source: docs/developer/hunyuan-facts.md, sections 2 and 3.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.nn.attention import Attention
from trellis.nn.blocks import BLOCK_EPS
from trellis.nn.norm import LayerNorm
from trellis.ops.attention import packed_attention
from trellis.ops.norms import RowNorm, add_and_normalize, linear_gelu
from trellis.ops.segments import Segments

TIME_WAVES = 128
TIME_PERIOD = 1000.0  # of the slowest wave, and what a time of 1 is scaled to


def time_wave(times: Tensor) -> Tensor:
    """[cos, sin] of 128 angles, float32 [n, 256], of times [n] in 0..1 (or guidance strengths)."""
    index = torch.arange(TIME_WAVES, dtype=torch.float32, device=times.device)
    angles = TIME_PERIOD * times.float()[:, None] * torch.exp(-math.log(TIME_PERIOD) * index / TIME_WAVES)
    return torch.cat([angles.cos(), angles.sin()], 1)


class WaveEmbedder(nn.Module):
    """A number as a row [1, C]: its waves, Linear, SiLU, Linear, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(2 * TIME_WAVES, width)
        self.out_layer = nn.Linear(width, width)

    def forward(self, number: float) -> Tensor:
        wave = time_wave(torch.tensor([number], device=self.in_layer.weight.device))
        return self.out_layer(F.silu(self.in_layer(wave)))


class Modulation(nn.Module):
    """Rows [parts, C] of a time [1, C], which SiLU was applied to: shift, scale and gate, once or twice."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.lin = nn.Linear(width, parts * width)

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        return self.lin(time.to(self.lin.weight.dtype))[0].chunk(self.parts)


def modulated(shift: Tensor, scale: Tensor) -> RowNorm:
    """The norm `(1 + scale) LN(x) + shift`."""
    return RowNorm(1 + scale, shift, BLOCK_EPS)


class HeadGain(nn.Module):
    """RMS norm of heads [..., D] in float32, eps 1e-6, times `scale`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.scale.shape, self.scale, BLOCK_EPS).to(x.dtype)


class HeadGains(nn.Module):
    """The norms of queries and of keys."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_norm, self.key_norm = HeadGain(width), HeadGain(width)

    def forward(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [..., H, D] of [..., 3, H, D]."""
        q, k, v = qkv.unbind(-3)
        return self.query_norm(q), self.key_norm(k), v


class StreamAttention(nn.Module):
    """What one stream brings to the attention of both, and how it takes the result."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = HeadGains(width // heads)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.norm(self.qkv(h).unflatten(-1, (3, self.heads, -1)))


def tanh_mlp(width: int, ratio: float) -> nn.Sequential:
    """Linear (key `0.`), GELU (tanh), Linear (`2.`)."""
    inner = int(width * ratio)
    return nn.Sequential(nn.Linear(width, inner), nn.GELU("tanh"), nn.Linear(inner, width))


def _run_mlp(mlp: nn.Sequential, h: Tensor) -> Tensor:
    first, _, second = mlp
    assert isinstance(first, nn.Linear)
    return second(linear_gelu(h, first.weight, bias=first.bias))


@dataclass(frozen=True)
class Streams:
    """How the rows of B samples lie: `text` and `image` tokens each; `both` are text, then image, sample by sample."""

    samples: int
    text: int
    both: Segments

    def joined(self, text: Tensor, image: Tensor) -> Tensor:
        """Rows [B T, ...] and [B L, ...] as [B (T + L), ...]."""
        parts = (text.unflatten(0, (self.samples, -1)), image.unflatten(0, (self.samples, -1)))
        return torch.cat(parts, 1).flatten(0, 1)

    def parted(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `joined`."""
        rows = both.unflatten(0, (self.samples, -1))
        return rows[:, : self.text].flatten(0, 1), rows[:, self.text :].flatten(0, 1)


class DoubleBlock(Attention):
    """Image and text tokens with weights of their own, which attend to each other together."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__(heads)
        self.img_mod, self.txt_mod = Modulation(width, 6), Modulation(width, 6)
        self.img_attn, self.txt_attn = StreamAttention(width, heads), StreamAttention(width, heads)
        self.img_mlp, self.txt_mlp = tanh_mlp(width, ratio), tanh_mlp(width, ratio)

    def forward(self, image: Tensor, text: Tensor, *, time: Tensor, streams: Streams) -> None:
        rows, text_rows = self.img_mod(time), self.txt_mod(time)
        of_text = self.txt_attn(modulated(*text_rows[:2])(text))
        of_image = self.img_attn(modulated(*rows[:2])(image))
        q, k, v = (streams.joined(a, b) for a, b in zip(of_text, of_image))
        both = streams.both
        out = packed_attention(q, k, v=v, q_segments=both, k_segments=both, backend=self.backend).flatten(1)
        attended_text, attended_image = streams.parted(out)
        _finish(image, self.img_attn.proj(attended_image), mlp=self.img_mlp, rows=rows)
        _finish(text, self.txt_attn.proj(attended_text), mlp=self.txt_mlp, rows=text_rows)


def _finish(x: Tensor, attended: Tensor, *, mlp: nn.Sequential, rows: tuple[Tensor, ...]) -> None:
    """Add the attention to the tokens x, then the MLP."""
    _, _, gate, shift, scale, mlp_gate = rows
    h = add_and_normalize(x, attended, gate=gate, norm=modulated(shift, scale))
    x.addcmul_(mlp_gate, _run_mlp(mlp, h))


class SingleBlock(Attention):
    """Attention and MLP of all tokens side by side."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__(heads)
        self.widths = (3 * width, int(width * ratio))
        self.modulation = Modulation(width, 3)
        self.linear1 = nn.Linear(width, sum(self.widths))
        self.linear2 = nn.Linear(width + self.widths[1], width)
        self.norm = HeadGains(width // heads)

    def forward(self, x: Tensor, *, time: Tensor, streams: Streams) -> None:
        shift, scale, gate = self.modulation(time)
        qkv, inner = self.linear1(modulated(shift, scale)(x)).split(self.widths, -1)
        q, k, v = self.norm(qkv.unflatten(-1, (3, self.heads, -1)))
        both = streams.both
        out = packed_attention(q, k, v=v, q_segments=both, k_segments=both, backend=self.backend).flatten(1)
        x.addcmul_(gate, self.linear2(torch.cat([out, F.gelu(inner, approximate="tanh")], -1)))


class LayerNorms(nn.Module):
    """Affine LayerNorms of the heads of queries and of keys."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_norm = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.k_norm = LayerNorm(width, eps=BLOCK_EPS, affine=True)


class ExactMlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, ratio * width)
        self.c_proj = nn.Linear(ratio * width, width)

    def forward(self, h: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(h)))


class LatentAttention(Attention):
    """The tokens of one latent attend to each other; queries, keys and values lie together head by head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(heads)
        self.c_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention = LayerNorms(width // heads)
        self.c_proj = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.c_qkv(h).unflatten(-1, (self.heads, 3, -1)).unbind(-2)
        q, k = self.attention.q_norm(q), self.attention.k_norm(k)
        all_of_one = Segments((len(h),), h.device)
        out = packed_attention(q, k, v=v, q_segments=all_of_one, k_segments=all_of_one, backend=self.backend)
        return self.c_proj(out.flatten(1))


class LatentBlock(nn.Module):
    """Norm, attention, residual; norm, MLP, residual, of the tokens x [L, C] of one latent."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.attn = LatentAttention(width, heads)
        self.ln_2 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.mlp = ExactMlp(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))
