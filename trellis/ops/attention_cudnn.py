"""Packed attention by torch with cuDNN's kernel first: fast on recent GPUs for lengths that come again and again.

cuDNN plans every new pair of lengths anew, which takes longer than one attention: not for lengths that change.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trellis.ops import attention_sdpa, attention_varlen
from trellis.ops.segments import Segments

PRIORITY = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def is_usable(q: Tensor) -> bool:
    """Half precision on a GPU with torch's flash attention: cuDNN asks for the same."""
    return attention_varlen.is_half_on_gpu(q)


def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`; ragged segments go to the variable-length kernel."""
    if not (q_segments.is_uniform and k_segments.is_uniform) and attention_varlen.is_usable(q):
        return attention_varlen.attend(q, k, v=v, q_segments=q_segments, k_segments=k_segments)
    _settle_order(q.device)
    with sdpa_kernel(PRIORITY, set_priority=True):
        return attention_sdpa.attend(q, k, v=v, q_segments=q_segments, k_segments=k_segments)


@cache
def _settle_order(device: torch.device) -> None:
    """Let torch choose its own order of kernels, which it does at its first attention and once for all.

    A context entered before that would keep what was there until then, and leave it behind as if it had been asked for.
    """
    x = torch.zeros(1, 1, 8, 64, dtype=torch.float16, device=device)
    F.scaled_dot_product_attention(x, x, x)
