"""RMS norm of attention heads as one Triton kernel that reads and writes every value once."""
# mypy: disable-error-code="no-untyped-def"
# The compiler of the kernels refuses Python types as annotations of what is on the device.

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from trellis.errors import InvalidInputError

_ROWS = 32


@triton.jit
def _normalize(
    x, first, last, rows, heads, per_token, stride, width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):
    row = tl.program_id(0) * block + tl.arange(0, block)
    column = tl.arange(0, padded)
    mask = (row[:, None] < rows) & (column[None, :] < width)
    head = row % per_token
    place = x + (row // per_token).to(tl.int64)[:, None] * stride + head[:, None] * width + column[None, :]
    values = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(values * values, 1) / width + 1e-30)
    gain = (head % heads)[:, None] * width + column[None, :]
    is_first = (head < heads)[:, None]
    gain = tl.load(first + gain, mask=mask & is_first, other=0.0) + tl.load(
        last + gain, mask=mask & (is_first == 0), other=0.0
    )
    tl.store(place, (values * scale[:, None] * gain).to(x.dtype.element_ty), mask=mask)


def by_triton(x: Tensor, gammas: Sequence[Tensor]) -> None:
    """See `trellis.ops.norms.normalize_heads`.

    Raises InvalidInputError where a token's values are scattered, and for more parts than two.
    """
    tokens, parts, heads, width = x.shape
    if x.stride()[1:] != (heads * width, width, 1) or not all(gamma.is_contiguous() for gamma in gammas):
        raise InvalidInputError("The kernel normalises tokens whose parts and heads follow each other in memory.")
    if parts != len(gammas) or parts > 2:
        raise InvalidInputError(f"The kernel normalises one or two parts with a gamma each, not {parts}.")
    rows = tokens * parts * heads
    grid = (triton.cdiv(rows, _ROWS),)
    _normalize[grid](
        x, gammas[0], gammas[-1], rows, heads, parts * heads, x.stride(0),
        width=width, padded=triton.next_power_of_2(width), block=_ROWS,
    )  # fmt: skip
