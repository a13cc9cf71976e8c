"""Sparse convolution by the Triton kernels with their gradients, for training in half precision."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trellis.ops.sparse_conv.choice import tiles_for


def apply(feats: Tensor, taps: Tensor, *, bias: Tensor, table: Tensor, kernels: ModuleType) -> Tensor:
    """feats [N, I], taps [1, O, 27, I], bias [O], table int32 [N, 27] with N for none -> [N, O]; see `gather.apply`."""
    return _KernelConv.apply(feats, taps, bias, table, kernels)


def _convolve(kernels: ModuleType, feats: Tensor, taps: Tensor, bias: Tensor, table: Tensor) -> Tensor:
    _, out_width, _, width = taps.shape
    out = feats.new_empty(len(feats), out_width)
    kernels.convolve(feats, taps, bias=bias, table=table, out=out, tile=tiles_for(width, out_width)[0])
    return out


class _KernelConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, taps: Tensor, bias: Tensor, table: Tensor, kernels: ModuleType) -> Tensor:
        ctx.save_for_backward(feats, taps, table)
        ctx.kernels = kernels
        return _convolve(kernels, feats, taps, bias, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        feats, taps, table = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_feats = grad_taps = None
        if ctx.needs_input_grad[0]:  # the neighbours in opposite order: p reached q at d, and q reaches p at -d
            mirrored = taps.flip(2).transpose(1, 3).contiguous()
            grad_feats = _convolve(ctx.kernels, grad, mirrored, grad.new_zeros(taps.shape[3]), table)
        if ctx.needs_input_grad[1]:
            grad_taps = ctx.kernels.tap_gradients(feats, grad, table).to(taps.dtype)
        return grad_feats, grad_taps, grad.sum(0) if ctx.needs_input_grad[2] else None, None, None
