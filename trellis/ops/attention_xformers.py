"""Packed attention by the package xformers; an adapter, used when it is asked for."""

from importlib.util import find_spec

import torch
from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.ops.segments import Segments


def is_usable(q: Tensor) -> bool:
    """Any precision on a GPU; raises MissingDependencyError without the package."""
    if find_spec("xformers") is None:
        raise MissingDependencyError("The attention back end xformers is not installed; use sdpa, or install it.")
    return q.device.type != "cpu" and q.shape[-1] % 8 == 0


@torch.compiler.disable
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`."""
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    pairs = [(a, b) for a, b in zip(q_segments.lengths, k_segments.lengths) if a]  # it knows no empty queries
    mask = BlockDiagonalMask.from_seqlens([a for a, _ in pairs], [b for _, b in pairs])
    return memory_efficient_attention(q[None], k[None], v[None], attn_bias=mask)[0]
