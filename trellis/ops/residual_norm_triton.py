"""Adding to the residual stream and normalising it, as one Triton kernel that reads and writes every value once."""
# mypy: disable-error-code="no-untyped-def"
# The compiler of the kernels refuses Python types as annotations of what is on the device.

import torch
import triton
import triton.language as tl
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.residual_norm import RowNorm

_VALUES = 4096  # of one program: enough rows to read gate, weight and shift for a few at a time


@triton.jit(do_not_specialize=["rows"])
def _add_and_normalize(
    x, h, out, gate, constant, weight, shift, rows, x_stride, h_stride, out_stride, eps,
    width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * block + tl.arange(0, block))[:, None]
    column = tl.arange(0, padded)[None, :]
    inside = column < width
    mask = (row < rows) & inside
    row = row.to(tl.int64)
    added = tl.load(h + row * h_stride + column, mask=mask, other=0.0).to(tl.float32)
    if gate is not None:
        added *= tl.load(gate + column, mask=inside, other=0.0).to(tl.float32)
    if constant is not None:
        added += tl.load(constant + column, mask=inside, other=0.0).to(tl.float32)
    place = x + row * x_stride + column
    stored = (tl.load(place, mask=mask, other=0.0).to(tl.float32) + added).to(x.dtype.element_ty)
    tl.store(place, stored, mask=mask)
    values = stored.to(tl.float32)  # the norm is that of the rounded stream
    centred = tl.where(inside, values - tl.sum(values, 1, keep_dims=True) / width, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1, keep_dims=True) / width + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
    normalized = centred * scale * gain + offset
    tl.store(out + row * out_stride + column, normalized.to(out.dtype.element_ty), mask=mask)


def by_triton(
    x: Tensor, h: Tensor, *, norm: RowNorm, gate: Tensor | None, constant: Tensor | None, out: Tensor | None
) -> Tensor:
    """See `trellis.ops.residual_norm.add_and_normalize`; InvalidInputError where values of a row are scattered."""
    if out is None:
        out = torch.empty_like(x)
    given = [part for part in (x, h, out, gate, constant, norm.weight, norm.shift) if part is not None]
    if any(part.stride(-1) != 1 for part in given):
        raise InvalidInputError("The kernel adds rows whose values follow each other in memory.")
    rows, width = x.shape
    padded = triton.next_power_of_2(width)
    block = max(1, _VALUES // padded)
    _add_and_normalize[(triton.cdiv(rows, block),)](
        x, h, out, gate, constant, norm.weight, norm.shift, rows, x.stride(0), h.stride(0), out.stride(0), norm.eps,
        width=width, padded=padded, block=block,
    )  # fmt: skip
    return out
