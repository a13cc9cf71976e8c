"""Packed attention by torch's variable-length flash attention: one kernel for any number of ragged segments."""

from importlib.util import find_spec

import torch
from torch import Tensor

from trellis.ops.eager import eager
from trellis.ops.segments import Segments
from trellis.runtime import has_flash_attention


@eager
def is_usable(q: Tensor) -> bool:
    """Half precision (also by autocast) on a GPU that has the kernel, head width a multiple of 8 up to 256."""
    return is_half_on_gpu(q) and find_spec("torch.nn.attention.varlen") is not None


def is_half_on_gpu(q: Tensor) -> bool:
    """Half precision (also by autocast) on a GPU with flash attention, head width a multiple of 8 up to 256."""
    if q.device.type == "cpu" or q.shape[-1] % 8 or q.shape[-1] > 256:
        return False
    autocast = torch.is_autocast_enabled(q.device.type)
    dtype = torch.get_autocast_dtype(q.device.type) if autocast else q.dtype
    return dtype in (torch.float16, torch.bfloat16) and has_flash_attention(q.device)


@eager
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`."""
    from torch.nn.attention.varlen import varlen_attn  # torch >= 2.10

    # Tokens may lie apart in memory, as parts of one product do: the kernel takes strides. Its gradient was only ever
    # tried without.
    if torch.is_grad_enabled():
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = varlen_attn(q, k, v, q_segments.boundaries(), k_segments.boundaries(), q_segments.longest, k_segments.longest)
    assert isinstance(out, Tensor)  # a pair only when asked for more than the output
    return out
