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
    """See `trellis.ops.attention.packed_attention`.

    Raises MissingDependencyError for a package that has no kernel for this machine.
    """
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    if q_segments.is_uniform and k_segments.is_uniform:
        parts = ((q, q_segments), (k, k_segments), (v, k_segments))
        q, k, v = (tokens.unflatten(0, (len(segments), -1)) for tokens, segments in parts)
        mask = None
    else:
        pairs = [(a, b) for a, b in zip(q_segments.lengths, k_segments.lengths) if a]  # it knows no empty queries
        q, k, v = q[None], k[None], v[None]
        mask = BlockDiagonalMask.from_seqlens([a for a, _ in pairs], [b for _, b in pairs])
    try:
        return memory_efficient_attention(q, k, v, attn_bias=mask).flatten(0, 1)
    except NotImplementedError as error:
        raise MissingDependencyError(
            "The installed xformers has no attention kernel for this machine, most often because it was built for "
            "another release of torch or of the driver's libraries; use sdpa, or install one that matches "
            "(python -m xformers.info tells)."
        ) from error
