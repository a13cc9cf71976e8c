"""Norms of rows with what comes before or after them, as Triton kernels that read and write every value once."""
# mypy: disable-error-code="no-untyped-def"
# The compiler of the kernels refuses Python types as annotations of what is on the device.

import torch
import triton
import triton.language as tl
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.norms.residual import RowNorm

_VALUES = 2048  # of one program: enough rows to read gate, weight and shift for a few at a time


@triton.jit
def _normalized(values, weight, shift, column, inside, eps, width):
    """Rows of float32 values, normalised, times weight plus shift."""
    centred = tl.where(inside, values - tl.sum(values, 1, keep_dims=True) / width, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1, keep_dims=True) / width + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    return centred * scale * gain + tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["rows"])
def _add_and_normalize(
    x, h, out, gate, constant, h_rows, out_rows, weight, shift, rows, x_stride, h_stride, out_stride, eps,
    width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(0) * block + tl.arange(0, block))[:, None]
    column = tl.arange(0, padded)[None, :]
    inside = column < width
    known = row < rows
    mask = known & inside
    row = row.to(tl.int64)
    h_row, out_row = row, row
    if h_rows is not None:
        h_row = tl.load(h_rows + row, mask=known, other=0)
    if out_rows is not None:
        out_row = tl.load(out_rows + row, mask=known, other=0)
    added = tl.load(h + h_row * h_stride + column, mask=mask, other=0.0).to(tl.float32)
    if gate is not None:
        added *= tl.load(gate + column, mask=inside, other=0.0).to(tl.float32)
    if constant is not None:
        added += tl.load(constant + column, mask=inside, other=0.0).to(tl.float32)
    place = x + row * x_stride + column
    stored = (tl.load(place, mask=mask, other=0.0).to(tl.float32) + added).to(x.dtype.element_ty)
    tl.store(place, stored, mask=mask)
    normalized = _normalized(stored.to(tl.float32), weight, shift, column, inside, eps, width)  # of the rounded stream
    tl.store(out + out_row * out_stride + column, normalized.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows"])
def _normalize_and_activate(
    x, out, weight, shift, rows, x_stride, eps, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    row = (tl.program_id(0) * block + tl.arange(0, block))[:, None]
    column = tl.arange(0, padded)[None, :]
    inside = column < width
    mask = (row < rows) & inside
    row = row.to(tl.int64)
    values = tl.load(x + row * x_stride + column, mask=mask, other=0.0).to(tl.float32)
    values = _normalized(values, weight, shift, column, inside, eps, width)
    tl.store(out + row * width + column, (values * tl.sigmoid(values)).to(out.dtype.element_ty), mask=mask)


def add_and_normalize(
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
    """See `trellis.ops.norms.add_and_normalize`.

    Raises InvalidInputError where values of a row are scattered, and for other than one row of h and of out for each.
    """
    if out is None:
        out = torch.empty_like(x)
    if len(h if h_rows is None else h_rows) != len(x) or len(out if out_rows is None else out_rows) != len(x):
        raise InvalidInputError("Every row of x needs one row of h and one of out.")
    _require_rows(x, h, out, gate, constant, norm.weight, norm.shift, h_rows, out_rows)
    grid, sizes = _launch(x)
    _add_and_normalize[grid](
        x, h, out, gate, constant, h_rows, out_rows, norm.weight, norm.shift, len(x), x.stride(0), h.stride(0),
        out.stride(0), norm.eps, **sizes,
    )  # fmt: skip
    return out


def normalize_and_activate(x: Tensor, *, norm: RowNorm, dtype: torch.dtype) -> Tensor:
    """See `trellis.ops.norms.normalize_and_activate`; InvalidInputError where values of a row are scattered."""
    _require_rows(x, norm.weight, norm.shift)
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    grid, sizes = _launch(x)
    _normalize_and_activate[grid](x, out, norm.weight, norm.shift, len(x), x.stride(0), norm.eps, **sizes)
    return out


def _require_rows(*given: Tensor | None) -> None:
    if any(part is not None and part.stride(-1) != 1 for part in given):
        raise InvalidInputError("The kernel takes rows whose values follow each other in memory.")


def _launch(x: Tensor) -> tuple[tuple[int], dict[str, int]]:
    """How many programs for rows x [T, C], and what they are compiled for."""
    rows, width = x.shape
    padded = triton.next_power_of_2(width)
    block = max(1, _VALUES // padded)
    return (triton.cdiv(rows, block),), {"width": width, "padded": padded, "block": block}
