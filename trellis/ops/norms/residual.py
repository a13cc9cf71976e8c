"""Norms of rows together with what comes before or after them: by torch, or in one pass by a Triton kernel.

What a layer adds to the residual stream comes before, an activation after. Without a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.ops.checked_kernels import checked_kernels

_AGREEMENT = 4e-3  # of a value and in all: a rounding to float16 of x, and two of its norm

Function = Callable[..., Tensor]


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
    h_rows: Tensor | None = None,
    out_rows: Tensor | None = None,
) -> Tensor:
    """`x += gate * h + constant` in place, then the norm of x: [T, C], in `out` if it is given.

    x, out [T, C] and h [T', C] of one precision; gate and constant are rows [C], and do nothing where they are absent.
    h_rows int64 [T]: the row of h that belongs to each row of x; out_rows int64 [T]: where the norm of each row of x
    goes, every row once; without them row t belongs to row t.
    """
    kernels = kernels_on(x.device) if x.dtype != torch.float32 else None
    function: Function = add_and_normalize_by_torch if kernels is None else kernels.add_and_normalize
    return function(x, h, norm=norm, gate=gate, constant=constant, out=out, h_rows=h_rows, out_rows=out_rows)


def add_and_normalize_by_torch(
    x: Tensor,
    h: Tensor,
    *,
    norm: RowNorm,
    gate: Tensor | None,
    constant: Tensor | None,
    out: Tensor | None,
    h_rows: Tensor | None,
    out_rows: Tensor | None,
) -> Tensor:
    """See `add_and_normalize`."""
    if h_rows is not None:
        h = h.index_select(0, h_rows)
    if gate is None:
        x += h
    else:
        x.addcmul_(gate, h)
    if constant is not None:
        x += constant
    normalized = norm(x)
    if out_rows is not None:
        return (torch.empty_like(x) if out is None else out).index_copy_(0, out_rows, normalized)
    return normalized if out is None else out.copy_(normalized)


def normalize_and_activate(x: Tensor, *, norm: RowNorm, dtype: torch.dtype | None = None) -> Tensor:
    """SiLU of the norm of x [T, C], in another precision if `dtype` is given: [T, C]; x stays as it is."""
    kernels = kernels_on(x.device) if x.dtype != torch.float32 else None
    function: Function = normalize_and_activate_by_torch if kernels is None else kernels.normalize_and_activate
    return function(x, norm=norm, dtype=dtype or x.dtype)


def normalize_and_activate_by_torch(x: Tensor, *, norm: RowNorm, dtype: torch.dtype) -> Tensor:
    """See `normalize_and_activate`."""
    return F.silu(norm(x.to(dtype)), inplace=True)


@cache
def kernels_on(device: torch.device) -> ModuleType | None:
    """The module of the kernels, if this device runs them and they agree with torch."""
    return checked_kernels(
        "trellis.ops.norms.residual_triton",
        device,
        agrees=lambda kernels: agrees(kernels, device),
        otherwise="norms are computed without a kernel",
    )


def agrees(kernels: ModuleType, device: torch.device) -> bool:
    """Whether the kernels give torch's values, and leave alone what lies beside the rows that they were given."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    for width, rows in ((64, None), (80, torch.float16)):
        norm = RowNorm(draw(width, dtype=rows or torch.float32), draw(width, dtype=rows or torch.float32), 1e-6)
        gate, constant = (None, None) if rows is None else (draw(width), draw(width))
        h = draw(50, width)
        h_rows, out_rows = (torch.randperm(n, generator=generator)[:37].to(device) for n in (50, 37))
        places = {"h_rows": None, "out_rows": None} if rows is None else {"h_rows": h_rows, "out_rows": out_rows}
        whole = draw(2, 38, width + 16)  # the stream and the result, with room around the rows
        expected, got = whole.clone(), whole.clone()
        functions: tuple[Function, Function] = (add_and_normalize_by_torch, kernels.add_and_normalize)
        for function, (stream, result) in zip(functions, (expected, got)):
            x, out = stream[:37, :width], result[:37, :width]
            part = h if rows is not None else h[:37]
            function(x, part, norm=norm, gate=gate, constant=constant, out=out, **places)
        if not torch.allclose(got, expected, rtol=_AGREEMENT, atol=_AGREEMENT):
            return False
        x = whole[0, :37, :width]
        expected = normalize_and_activate_by_torch(x, norm=norm, dtype=torch.float16)
        got = kernels.normalize_and_activate(x, norm=norm, dtype=torch.float16)
        if not torch.allclose(got, expected, rtol=_AGREEMENT, atol=_AGREEMENT):
            return False
    return True
