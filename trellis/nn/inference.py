"""The flow models' blocks evaluated for sampling: the same mathematics as `blocks` and `conv`, in fewer steps.

All tokens share one time, so a modulated norm is one LayerNorm with weight `1 + scale` and bias `shift`; keys and
values of the condition are made once; a condition of one token adds a constant. Nothing here has a gradient.
Statistics of norms are float32 in every precision; the residual stream is in the torso's precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.nn.attention import CrossAttention, SelfAttention
from trellis.nn.blocks import ModulatedCrossBlock
from trellis.nn.conv import SparseResidualBlock
from trellis.nn.norm import LayerNorm
from trellis.ops.attention import packed_attention
from trellis.ops.head_norm import normalize_heads
from trellis.ops.segments import Segments
from trellis.ops.sparse_conv import submanifold_conv_of_upsampled
from trellis.sparse import SparseTensor, VoxelLayout, downsample, upsample, upsampled_neighbours


@dataclass(frozen=True)
class ConditionContext:
    """What one block needs of one condition: keys and values [Tc, H, D], or the row [C] that every token is given."""

    keys: Tensor
    values: Tensor
    constant: Tensor | None = None

    def copy_from(self, other: "ConditionContext") -> None:
        """Take the values of a context of the same shapes, in place."""
        self.keys.copy_(other.keys)
        self.values.copy_(other.values)
        if self.constant is not None and other.constant is not None:
            self.constant.copy_(other.constant)

    def clone(self) -> "ConditionContext":
        return ConditionContext(
            self.keys.clone(), self.values.clone(), None if self.constant is None else self.constant.clone()
        )


def condition_context(attention: CrossAttention, cond: Tensor) -> ConditionContext:
    """Keys and values of condition tokens [Tc, Cc]; attention to a single token is that token's value."""
    kv = attention.to_kv(cond).unflatten(-1, (2, attention.heads, -1))
    if attention.k_rms_norm is not None:
        normalize_heads(kv[:, :1], attention.k_rms_norm.gamma[None])
    keys, values = kv.unbind(1)
    constant = attention.to_out(values.flatten(1))[0] if len(cond) == 1 else None
    return ConditionContext(keys, values, constant)


def affine_norm(x: Tensor, norm: LayerNorm) -> Tensor:
    """A norm with float32 weights, of x in any precision."""
    if norm.weight is None or norm.bias is None:
        return F.layer_norm(x, norm.shape, eps=norm.eps)
    if x.dtype == norm.weight.dtype:
        return F.layer_norm(x, norm.shape, norm.weight, norm.bias, norm.eps)
    normalized = F.layer_norm(x, norm.shape, eps=norm.eps)
    return torch.addcmul(norm.bias, normalized, norm.weight, out=normalized)


def attend_self(block: ModulatedCrossBlock, x: Tensor, modulation: Tensor, segments: Segments) -> Tensor:
    """x [T, C] after modulated self-attention; modulation [6, C] holds `1 + scale` at 1 and 4."""
    attention: SelfAttention = block.self_attn
    h = F.layer_norm(x, block.norm1.shape, modulation[1], modulation[0], block.norm1.eps)
    qkv = attention.to_qkv(h).unflatten(-1, (3, attention.heads, -1))
    if attention.q_rms_norm is not None and attention.k_rms_norm is not None:
        gamma = torch.stack([attention.q_rms_norm.gamma, attention.k_rms_norm.gamma])
        normalize_heads(qkv[:, :2], gamma)
    q, k, v = qkv.unbind(1)
    backend = attention.backend or attention.measured
    out = packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend=backend)
    return torch.addcmul(x, modulation[2], attention.to_out(out.flatten(1)))


def attend_condition(block: ModulatedCrossBlock, x: Tensor, context: ConditionContext, segments: Segments) -> None:
    """Add the cross-attention of the tokens x [T, C] of one sample to them, in place."""
    if context.constant is not None:
        x += context.constant
        return
    attention: CrossAttention = block.cross_attn
    q = attention.to_q(affine_norm(x, block.norm2)).unflatten(-1, (attention.heads, -1))
    if attention.q_rms_norm is not None:
        normalize_heads(q[:, None], attention.q_rms_norm.gamma[None])
    keys = Segments((len(context.keys),), x.device)
    backend = attention.backend or attention.measured
    out = packed_attention(q, context.keys, v=context.values, q_segments=segments, k_segments=keys, backend=backend)
    x += attention.to_out(out.flatten(1))


def feed_forward(block: ModulatedCrossBlock, x: Tensor, modulation: Tensor) -> Tensor:
    """x [T, C] after the modulated MLP, in place."""
    h = F.layer_norm(x, block.norm3.shape, modulation[4], modulation[3], block.norm3.eps)
    return x.addcmul_(modulation[5], block.mlp(h))


def run_blocks(
    blocks: Sequence[ModulatedCrossBlock],
    x: Tensor,
    modulations: Tensor,
    contexts: Sequence[Sequence[ConditionContext]],
) -> Tensor:
    """Tokens x [T, C] of one sample under each of B conditions: [B T, C].

    modulations [L, 6, C] of the L blocks; contexts[b][l]. What precedes the first condition is computed once.
    """
    length, count = len(x), len(contexts)
    single, together = Segments((length,), x.device), Segments((length,) * count, x.device)
    for index, block in enumerate(blocks):
        x = attend_self(block, x, modulations[index], single if index == 0 else together)
        if index == 0 and count > 1:
            x = x.repeat(count, 1)
        for place, tokens in enumerate(x.split(length)):
            attend_condition(block, tokens, contexts[place][index], single)
        x = feed_forward(block, x, modulations[index])
    return x


def run_residual(
    block: SparseResidualBlock, x: SparseTensor, time: Tensor, *, fine: VoxelLayout | None = None
) -> SparseTensor:
    """`block(x, time)` for one time [C] of all samples; what precedes upsampling is done on the coarse voxels."""
    if block.resample == "down":
        x = downsample(x)
    scale, shift = block.emb_layers(time).chunk(2)
    h = F.silu(affine_norm(x.feats, block.norm1), inplace=True)
    skip = x.replace(block.skip_connection(x.feats))
    if block.resample == "up":
        assert fine is not None
        conv, table = block.conv1.conv, upsampled_neighbours(fine)
        skip = upsample(skip, fine)
        h = submanifold_conv_of_upsampled(h, conv.weight, bias=conv.bias, neighbours=table)
    else:
        h = block.conv1(x.replace(h)).feats
    h = F.silu(F.layer_norm(h, block.norm2.shape, 1 + scale, shift, block.norm2.eps), inplace=True)
    return skip.replace(block.conv2(skip.replace(h)).feats + skip.feats)
