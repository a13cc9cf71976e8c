"""Packed attention by the package flash-attn; an adapter, used when it is asked for."""

from importlib.util import find_spec

import torch
from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.ops import attention_varlen
from trellis.ops.segments import Segments


def is_usable(q: Tensor) -> bool:
    """Half precision on an NVIDIA GPU of compute capability 8; raises MissingDependencyError without the package."""
    if find_spec("flash_attn") is None:
        raise MissingDependencyError("The attention back end flash-attn is not installed; use sdpa, or install it.")
    return attention_varlen.is_half_on_gpu(q)


@torch.compiler.disable
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`."""
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func(
        q,
        k,
        v,
        q_segments.boundaries(),
        k_segments.boundaries(),
        max(q_segments.lengths),
        max(k_segments.lengths),
    )
