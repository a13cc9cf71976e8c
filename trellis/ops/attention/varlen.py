"""Packed attention by torch's variable-length flash attention: one kernel for any number of ragged segments."""

import logging
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from trellis.ops.eager import eager
from trellis.ops.segments import Segments
from trellis.runtime import has_flash_attention, is_out_of_memory

HALF = (torch.float16, torch.bfloat16)
_AGREEMENT = 1e-2  # of values about 1 in float16

logger = logging.getLogger(__name__)


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
    return dtype in HALF and has_flash_attention(q.device)


@eager
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`."""
    if not torch.is_grad_enabled() and q.dtype in HALF and _kernel_agrees(q.device):
        return _by_kernel(q, k, v, q_segments, k_segments)
    from torch.nn.attention.varlen import varlen_attn  # torch >= 2.10

    # Tokens may lie apart in memory, as parts of one product do: the kernel takes strides. Its gradient was only ever
    # tried without.
    if torch.is_grad_enabled():
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = varlen_attn(q, k, v, q_segments.boundaries(), k_segments.boundaries(), q_segments.longest, k_segments.longest)
    assert isinstance(out, Tensor)  # a pair only when asked for more than the output
    return out


def _by_kernel(q: Tensor, k: Tensor, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """The kernel that `varlen_attn` calls, without its wrapper: that imports torch's compiler, which takes seconds."""
    boundaries = q_segments.boundaries(), k_segments.boundaries()
    longest = q_segments.longest, k_segments.longest
    out: Tensor = torch.ops.aten._flash_attention_forward(q, k, v, *boundaries, *longest, 0.0, False, False)[0]
    return out


@cache
def _kernel_agrees(device: torch.device) -> bool:
    """Whether the kernel can be called so here and gives what torch's attention of each segment gives."""
    generator = torch.Generator().manual_seed(0)
    q_segments, k_segments = Segments((3, 1, 7), device), Segments((2, 5, 4), device)
    q, k, v = (
        torch.randn(rows, 2, 32, generator=generator).to(device, torch.float16)
        for rows in (q_segments.total, k_segments.total, k_segments.total)
    )
    parts = zip(q.split(q_segments.lengths), k.split(k_segments.lengths), v.split(k_segments.lengths))
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.autocast(device.type, enabled=False):  # which would change the type of one of the two
        expected = torch.cat(
            [attention(*(tokens.transpose(0, 1)[None] for tokens in part))[0].transpose(0, 1) for part in parts]
        )
        try:
            error = float((_by_kernel(q, k, v, q_segments, k_segments) - expected).abs().max())
        except (AttributeError, RuntimeError, TypeError, ValueError) as fault:  # no such kernel, or another signature
            if is_out_of_memory(fault):
                raise
            logger.info("attention goes through torch's varlen_attn: %s", fault)
            return False
    if not error < _AGREEMENT:
        logger.warning("attention goes through torch's varlen_attn: its kernel alone differs by %.3g", error)
    return error < _AGREEMENT
