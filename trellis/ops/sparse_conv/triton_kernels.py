"""Sparse convolution as Triton kernels that never write the gathered neighbours (an implicit GEMM).

A program computes a tile of the output: a product of gathered channels and weights for each neighbour that any of its
rows has, summed in float32; or a tile of a tap's gradient over some of the rows. Half precision only;
`trellis.ops.sparse_conv.gather` is the same in plain torch.
"""
# mypy: disable-error-code="no-untyped-def"
# The compiler of the kernels refuses Python types as annotations of what is on the device.

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.errors import OutOfResources

from trellis.errors import InvalidInputError
from trellis.ops.sparse_conv.choice import Tile

_SIDES = {(1, 27): 3, (8, 8): 2}  # convolutions and taps of each: all neighbours, or the 8 corners of 2^3 of them
_SUMMED = 16  # rows of products that one program sums
_SIDE, _BLOCK = 64, 64  # of the tile of a tap's gradient, and the rows that are multiplied at once
_PROGRAMS = 2048  # that share the rows of a tap's gradient, about


@triton.jit
def _column(tap, side):
    """The table's column of a tap, counted from the corner of side^3 neighbours."""
    return tap // (side * side) * 9 + tap // side % side * 3 + tap % side


@triton.jit
def _lowest_bit(bits):
    """Place of the lowest bit that is set, read off the exponent of its value."""
    return ((bits & -bits).to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127


@triton.jit(do_not_specialize=["rows", "none", "groups"])
def _convolve(
    feats, taps, bias, table, out, rows, none, width, out_width, groups, side,
    tile_rows: tl.constexpr, tile_columns: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    tiles = tl.cdiv(out_width, tile_columns)
    place = tl.program_id(0)
    group = place // tiles % groups
    column = place % tiles * tile_columns + tl.arange(0, tile_columns)
    row = (place // (tiles * groups)).to(tl.int64) * tile_rows + tl.arange(0, tile_rows)
    count = side * side * side
    table += group // 4 * 9 + group // 2 % 2 * 3 + group % 2 + row * 27
    taps += (group * out_width + column).to(tl.int64) * count * width
    # The taps for which any row of the tile has a neighbour, as bits.
    taps_of_tile = tl.arange(0, 32)
    known = (row < rows)[:, None] & (taps_of_tile < count)[None, :]
    found = tl.load(table[:, None] + _column(taps_of_tile, side)[None, :], mask=known, other=none) != none
    used = tl.max(found.to(tl.int32), 0)
    left = tl.sum(used << taps_of_tile)
    blocks = tl.cdiv(width, depth)
    total = tl.zeros((tile_rows, tile_columns), tl.float32)
    for step in range(tl.sum(used) * blocks):
        tap = _lowest_bit(left)
        block = step % blocks
        channel = tl.multiple_of(block * depth, depth) + tl.arange(0, depth)
        neighbour = tl.load(table + _column(tap, side), mask=row < rows, other=none)
        gathered = tl.load(
            feats + neighbour.to(tl.int64)[:, None] * width + channel[None, :],
            mask=(neighbour != none)[:, None] & (channel < width)[None, :],
            other=0.0,
        )
        weight = tl.load(
            taps[None, :] + tap * width + channel[:, None],
            mask=(channel < width)[:, None] & (column < out_width)[None, :],
            other=0.0,
        )
        total = tl.dot(gathered, weight, total)
        left = tl.where(block == blocks - 1, left & (left - 1), left)
    total += tl.load(bias + column, mask=column < out_width, other=0.0).to(tl.float32)[None, :]
    target = out + (row * groups + group)[:, None] * out_width + column[None, :]
    tl.store(target, total.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < out_width)[None, :])


@triton.jit(do_not_specialize=["rows", "none"])
def _sum(products, bias, table, out, rows, none, width, padded: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    column = tl.arange(0, padded)
    total = tl.zeros((block, padded), tl.float32)
    for tap in tl.static_range(27):
        neighbour = tl.load(table + row * 27 + tap, mask=row < rows, other=none)
        place = (neighbour.to(tl.int64) * 27 + tap)[:, None] * width + column[None, :]
        known = (neighbour != none)[:, None] & (column < width)[None, :]
        total += tl.load(products + place, mask=known, other=0.0).to(tl.float32)
    total += tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)[None, :]
    mask = (row < rows)[:, None] & (column < width)[None, :]
    tl.store(out + row[:, None] * width + column[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows", "share"])
def _tap_gradient(
    feats, grad, table, out, rows, share, width, out_width,
    side: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(width, side)
    tile, tap, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    column = tile // across * side + tl.arange(0, side)
    channel = tile % across * side + tl.arange(0, side)
    total = tl.zeros((side, side), tl.float32)
    last = tl.minimum(rows, (part + 1) * share)
    for first in range(part * share, last, block):
        row = first + tl.arange(0, block)
        neighbour = tl.load(table + row.to(tl.int64) * 27 + tap, mask=row < last, other=rows)
        gathered = tl.load(
            feats + neighbour.to(tl.int64)[:, None] * width + channel[None, :],
            mask=(neighbour != rows)[:, None] & (channel < width)[None, :],
            other=0.0,
        )
        arrived = tl.load(
            grad + row.to(tl.int64)[None, :] * out_width + column[:, None],
            mask=(row < last)[None, :] & (column < out_width)[:, None],
            other=0.0,
        )
        total = tl.dot(arrived, gathered, total)
    place = ((part * out_width + column).to(tl.int64) * 27 + tap)[:, None] * width + channel[None, :]
    tl.store(out + place, total, mask=(column < out_width)[:, None] & (channel < width)[None, :])


def convolve(
    feats: Tensor, taps: Tensor, *, bias: Tensor, table: Tensor, out: Tensor, tile: Tile, none: int | None = None
) -> None:
    """See `gather.apply`; into out [n, G * O], for the rows of the table [n, 27].

    feats [N, I]; taps [1, O, 27, I] with all columns or [8, O, 8, I] with those of the corners; out is contiguous;
    none: the number for no neighbour in the table, N unless given. Raises InvalidInputError for taps or a target of
    other shapes; RuntimeError where the card has no room for the tile.
    """
    groups, out_width, count, width = taps.shape
    feats, taps, table = feats.contiguous(), taps.contiguous(), table.contiguous()
    rows, none = len(table), len(feats) if none is None else none
    if (groups, count) not in _SIDES or feats.shape[1] != width:
        raise InvalidInputError(f"The kernel convolves with 27 taps or 8 times 8, not with {list(taps.shape)}.")
    if out.shape != (rows, groups * out_width) or not out.is_contiguous():
        raise InvalidInputError(f"The kernel writes rows of {groups * out_width} values that follow each other.")
    if rows == 0:
        return
    grid = (triton.cdiv(rows, tile.rows) * triton.cdiv(out_width, tile.columns) * groups,)
    try:
        _convolve[grid](
            feats, taps, bias, table, out, rows, none, width, out_width, groups, _SIDES[groups, count],
            tile_rows=tile.rows, tile_columns=tile.columns, depth=tile.depth,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
    except OutOfResources as error:
        raise RuntimeError(f"no room for {tile}: {error}") from error


def sum_products(products: Tensor, table: Tensor, *, bias: Tensor) -> Tensor:
    """See `gather.sum_products`."""
    products, table = products.contiguous(), table.contiguous()
    count, rows, width = len(products), len(table), products.shape[1] // 27
    out = products.new_empty(rows, width)
    if rows:
        grid, padded = (triton.cdiv(rows, _SUMMED),), triton.next_power_of_2(width)
        _sum[grid](products, bias, table, out, rows, count, width, padded=padded, block=_SUMMED)
    return out


def tap_gradients(feats: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    """Gradient float32 [1, O, 27, I] of the taps of `convolve`, from that of its result.

    feats [N, I] and grad [N, O] in one half precision; table int32 [N, 27]. Sums are made in a fixed order.
    """
    feats, grad, table = feats.contiguous(), grad.contiguous(), table.contiguous()
    rows, width, out_width = len(table), feats.shape[1], grad.shape[1]
    tiles = triton.cdiv(width, _SIDE) * triton.cdiv(out_width, _SIDE)
    parts = max(1, min(_PROGRAMS // (27 * tiles), triton.cdiv(rows, 4 * _BLOCK)))
    out = feats.new_zeros(parts, out_width, 27, width, dtype=torch.float32)
    if rows:
        share = triton.cdiv(rows, parts)
        _tap_gradient[(tiles, 27, parts)](
            feats, grad, table, out, rows, share, width, out_width, side=_SIDE, block=_BLOCK, num_warps=4, num_stages=3
        )
    return out.sum(0, keepdim=True)
