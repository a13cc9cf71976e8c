"""Blocks evaluated without a gradient: the same mathematics as `blocks` and `conv`, in fewer steps.

In the flow models all tokens share one time, so a modulated norm is one LayerNorm with weight `1 + scale` and bias
`shift`; keys and values of the condition are made once; a condition of one token adds a constant. What a layer adds to
the residual stream and the norm for the next layer are one operation, and so are a norm and its activation.
Statistics of norms are float32 in every precision; the residual stream is in the torso's precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor, nn

from trellis.nn.attention import CrossAttention, SelfAttention
from trellis.nn.blocks import BLOCK_EPS, FeedForward, ModulatedCrossBlock, TransformerBlock
from trellis.nn.conv import DenseResidualBlock, SparseResidualBlock
from trellis.nn.norm import ChannelLayerNorm, LayerNorm
from trellis.ops.attention import packed_attention
from trellis.ops.norms import RowNorm, add_and_normalize, linear_gelu, normalize_and_activate, normalize_heads
from trellis.ops.segments import Segments
from trellis.ops.sparse_conv import submanifold_conv_of_upsampled
from trellis.sparse import SparseTensor, VoxelLayout, downsample, upsample, upsampled_neighbours
from trellis.sparse.windows import TokenWindows


@dataclass(frozen=True)
class ConditionContext:
    """What one block needs of a condition: keys and values [Tc, 2, H, D], or the row [C] that every token is given."""

    kv: Tensor
    constant: Tensor | None = None

    @property
    def keys(self) -> Tensor:
        """[Tc, H, D]."""
        return self.kv[:, 0]

    @property
    def values(self) -> Tensor:
        """[Tc, H, D]."""
        return self.kv[:, 1]

    def copy_from(self, other: "ConditionContext") -> None:
        """Take the values of a context of the same shapes, in place."""
        self.kv.copy_(other.kv)
        if self.constant is not None and other.constant is not None:
            self.constant.copy_(other.constant)

    def clone(self) -> "ConditionContext":
        return ConditionContext(self.kv.clone(), None if self.constant is None else self.constant.clone())


def condition_context(attention: CrossAttention, cond: Tensor) -> ConditionContext:
    """Keys and values of condition tokens [Tc, Cc]; attention to a single token is that token's value."""
    kv = attention.to_kv(cond).unflatten(-1, (2, attention.heads, -1))
    if attention.k_rms_norm is not None:
        normalize_heads(kv[:, :1], (attention.k_rms_norm.gamma,))
    constant = attention.to_out(kv[:, 1].flatten(1))[0] if len(cond) == 1 else None
    return ConditionContext(kv, constant)


def row_norm(layer: LayerNorm) -> RowNorm:
    """A norm with weights of its own, for tokens in any precision."""
    assert layer.weight is not None and layer.bias is not None
    return RowNorm(layer.weight, layer.bias, layer.eps)


def attend_self(attention: SelfAttention, h: Tensor, segments: Segments) -> Tensor:
    """Self-attention of the normalised tokens h [T, C]."""
    qkv = attention.to_qkv(h).unflatten(-1, (3, attention.heads, -1))
    if attention.q_rms_norm is not None and attention.k_rms_norm is not None:
        normalize_heads(qkv[:, :2], (attention.q_rms_norm.gamma, attention.k_rms_norm.gamma))
    q, k, v = qkv.unbind(1)
    out = packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend=attention.backend)
    return attention.to_out(out.flatten(1))


def attend_condition(block: ModulatedCrossBlock, h: Tensor, context: ConditionContext, segments: Segments) -> Tensor:
    """Attention of the normalised tokens h [T, C] of one sample to a condition of several tokens."""
    attention: CrossAttention = block.cross_attn
    q = attention.to_q(h).unflatten(-1, (attention.heads, -1))
    if attention.q_rms_norm is not None:
        normalize_heads(q[:, None], (attention.q_rms_norm.gamma,))
    keys = Segments((len(context.keys),), h.device)
    out = packed_attention(
        q, context.keys, v=context.values, q_segments=segments, k_segments=keys, backend=attention.backend
    )
    return attention.to_out(out.flatten(1))


def add_attention(
    block: ModulatedCrossBlock,
    x: Tensor,
    attended: Tensor,
    *,
    modulation: Tensor,
    context: ConditionContext,
    segments: Segments,
    out: Tensor,
) -> None:
    """Add both attentions to the tokens x [T, C] of one sample, and write them to `out`, normalised for the MLP.

    attended [T, C]: what self-attention gives; modulation [6, C] holds `1 + scale` at 1 and 4.
    """
    gate, for_mlp = modulation[2], RowNorm(modulation[4], modulation[3], block.norm3.eps)
    if context.constant is not None:
        add_and_normalize(x, attended, gate=gate, constant=context.constant, norm=for_mlp, out=out)
        return
    h = add_and_normalize(x, attended, gate=gate, norm=row_norm(block.norm2))
    add_and_normalize(x, attend_condition(block, h, context, segments), norm=for_mlp, out=out)


def feed_forward(layers: FeedForward, h: Tensor) -> Tensor:
    """The MLP of the normalised tokens h [T, C]."""
    first, _, second = layers.mlp
    assert isinstance(first, nn.Linear)
    return second(linear_gelu(h, first.weight, bias=first.bias))


def run_blocks(
    blocks: Sequence[ModulatedCrossBlock],
    x: Tensor,
    modulations: Tensor,
    contexts: Sequence[Sequence[ConditionContext]],
) -> Tensor:
    """Tokens x [T, C] of one sample under each of B conditions: [B T, C].

    modulations [L, 6, C] of the L blocks; contexts[b][l]. What precedes the first condition is computed once. Every
    layer's output is added to the tokens together with the norm for the next layer.
    """
    length, count = len(x), len(contexts)
    single, together = Segments((length,), x.device), Segments((length,) * count, x.device)
    for_attention = [RowNorm(part[1], part[0], block.norm1.eps) for block, part in zip(blocks, modulations)]
    h = for_attention[0](x)
    x = x.repeat(count, 1)
    for index, block in enumerate(blocks):
        modulation = modulations[index]
        attended = attend_self(block.self_attn, h, together if index else single)
        h = torch.empty_like(x)
        places = zip(contexts, x.split(length), cycle(attended.split(length)), h.split(length))
        for context, tokens, part, out in places:
            add_attention(block, tokens, part, modulation=modulation, context=context[index], segments=single, out=out)
        h = feed_forward(block.mlp, h)
        if index + 1 < len(blocks):
            h = add_and_normalize(x, h, gate=modulation[5], norm=for_attention[index + 1])
    return x.addcmul_(modulations[-1, 5], h)


def run_plain_blocks(
    blocks: Sequence[TransformerBlock], x: Tensor, windows_of: Callable[[int], TokenWindows]
) -> Tensor:
    """Tokens x [T, C] through the latent VAE's blocks, in place; windows_of(l): the windows of block l."""
    norm = RowNorm(x.new_ones(x.shape[1]), x.new_zeros(x.shape[1]), BLOCK_EPS)
    h = x
    for index, block in enumerate(blocks):
        windows = windows_of(index)
        if index and windows.is_permutation:  # tokens are put in the order of the windows as they are written
            h = add_and_normalize(x, h, norm=norm, out_rows=windows.select)
        else:
            h = add_and_normalize(x, h, norm=norm) if index else norm(x)
            h = h if windows.gather is None else h.index_select(0, windows.gather)
        h = attend_self(block.attn, h, windows.segments)
        h = add_and_normalize(x, h, norm=norm, h_rows=windows.select)  # and read back in their own
        h = feed_forward(block.mlp, h)
    return x.add_(h) if blocks else x


def activate_grid(x: Tensor, norm: ChannelLayerNorm, *, dtype: torch.dtype | None = None) -> Tensor:
    """SiLU of the norm over the channels of a dense grid [B, C, X, Y, Z], in another precision if `dtype` is given."""
    rows = x.movedim(1, -1).contiguous()  # no copy of what a convolution of such rows has made
    active = normalize_and_activate(rows.flatten(0, -2), norm=row_norm(norm), dtype=dtype)
    return active.view(rows.shape).movedim(-1, 1)


def run_dense_residual(block: DenseResidualBlock, x: Tensor) -> Tensor:
    """`block(x)` on a dense grid [B, C, X, Y, Z]."""
    h = block.conv1(activate_grid(x, block.norm1))
    return block.conv2(activate_grid(h, block.norm2)) + block.skip_connection(x)


def run_residual(
    block: SparseResidualBlock, x: SparseTensor, time: Tensor, *, fine: VoxelLayout | None = None
) -> SparseTensor:
    """`block(x, time)` for one time [C] of all samples; what precedes upsampling is done on the coarse voxels."""
    if block.resample == "down":
        x = downsample(x)
    scale, shift = block.emb_layers(time).chunk(2)
    h = normalize_and_activate(x.feats, norm=row_norm(block.norm1))
    skip = x.replace(block.skip_connection(x.feats))
    if block.resample == "up":
        assert fine is not None
        conv, table = block.conv1.conv, upsampled_neighbours(fine)
        skip = upsample(skip, fine)
        h = submanifold_conv_of_upsampled(h, conv.weight, bias=conv.bias, neighbours=table, backend=block.conv1.backend)
    else:
        h = block.conv1(x.replace(h)).feats
    h = normalize_and_activate(h, norm=RowNorm(1 + scale, shift, block.norm2.eps))
    return skip.replace(block.conv2(skip.replace(h)).feats + skip.feats)
