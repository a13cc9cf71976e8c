"""What a layer adds to the residual stream, and the norm that follows: by torch, or in one pass by a Triton kernel.

In place and without a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.ops.checked_kernels import checked_kernels

_AGREEMENT = 4e-3  # of a value and in all: a rounding to float16 of x, and two of its norm

Kernel = Callable[..., Tensor]


@dataclass(frozen=True)
class RowNorm:
    """LayerNorm of rows of C values, then `* weight + shift`: rows [C] in the precision of the values, or float32."""

    weight: Tensor
    shift: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """x [T, C], normalised; the statistics are float32."""
        if x.dtype == self.weight.dtype:
            return F.layer_norm(x, self.weight.shape, self.weight, self.shift, self.eps)
        normalized = F.layer_norm(x, self.weight.shape, eps=self.eps)
        return torch.addcmul(self.shift, normalized, self.weight, out=normalized)


def add_and_normalize(
    x: Tensor,
    h: Tensor,
    *,
    norm: RowNorm,
    gate: Tensor | None = None,
    constant: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`x += gate * h + constant` in place, then the norm of x: [T, C], in `out` if it is given.

    x, h, out [T, C] of one precision; gate and constant are rows [C], and do nothing where they are absent.
    """
    kernel = kernel_for(x.device) if x.dtype != torch.float32 else None
    return (kernel or by_torch)(x, h, norm=norm, gate=gate, constant=constant, out=out)


def by_torch(
    x: Tensor, h: Tensor, *, norm: RowNorm, gate: Tensor | None, constant: Tensor | None, out: Tensor | None
) -> Tensor:
    """See `add_and_normalize`."""
    if gate is None:
        x += h
    else:
        x.addcmul_(gate, h)
    if constant is not None:
        x += constant
    normalized = norm(x)
    return normalized if out is None else out.copy_(normalized)


@cache
def kernel_for(device: torch.device) -> Kernel | None:
    """The kernel, if this device runs it and it agrees with torch."""
    kernels = checked_kernels(
        "trellis.ops.residual_norm_triton",
        device,
        agrees=lambda module: agrees(module.by_triton, device),
        otherwise="residuals are added and normalised without a kernel",
    )
    return None if kernels is None else kernels.by_triton


def agrees(kernel: Kernel, device: torch.device) -> bool:
    """Whether a kernel gives torch's values, and leaves alone what lies beside the rows that it was given."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    for width, rows in ((64, None), (80, torch.float16)):
        norm = RowNorm(draw(width, dtype=rows or torch.float32), draw(width, dtype=rows or torch.float32), 1e-6)
        gate, constant = (None, None) if rows is None else (draw(width), draw(width))
        h = draw(37, width)
        whole = draw(2, 38, width + 16)  # the stream and the result, with room around the rows
        expected, got = whole.clone(), whole.clone()
        for function, (stream, result) in ((by_torch, expected), (kernel, got)):
            x, out = stream[:37, :width], result[:37, :width]
            function(x, h, norm=norm, gate=gate, constant=constant, out=out)
        if not torch.allclose(got, expected, rtol=_AGREEMENT, atol=_AGREEMENT):
            return False
    return True
