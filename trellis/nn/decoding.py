"""The mesh decoder's last stages evaluated in little memory: the same mathematics as `conv.SubdivideBlock`, by rows.

A convolution of some rows reads their neighbours from the features of all rows, so pieces need no border of their own
and the result does not depend on their size. Group norms take two passes: statistics of all rows, then the rows.
Statistics are float32 in every precision. Nothing here has a gradient.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.nn.blocks import run_head
from trellis.nn.conv import SparseConv3d, SubdivideBlock
from trellis.nn.norm import SegmentGroupNorm
from trellis.ops.neighbours import NeighbourGrid
from trellis.ops.sparse_conv import RowConvolution
from trellis.sparse import SparseTensor, subdivided

CHUNK_BYTES = 1 << 27  # of work space beside what the stage must hold
LEAST_ROWS = 1024
NORM_EPS = 1e-5


def pieces(rows: int, row_bytes: int, chunk_bytes: int) -> Iterator[slice]:
    """Slices of as many rows as fit into `chunk_bytes` at `row_bytes` each."""
    step = max(LEAST_ROWS, chunk_bytes // row_bytes)
    for at in range(0, rows, step):
        yield slice(at, min(at + step, rows))


def normalize_activate(x: Tensor, norm: SegmentGroupNorm, *, lengths: tuple[int, ...], chunk_bytes: int) -> Tensor:
    """GroupNorm and SiLU of packed tokens x [N, C], in place."""
    at = 0
    for length in lengths:
        sample = x[at : at + length]
        rows = list(pieces(length, 4 * x.shape[1], chunk_bytes))
        mean = _group_means(sum((sample[r].sum(0, dtype=torch.float32).double() for r in rows), 0.0), norm, length)
        squares = sum(((sample[r] - mean).square_().sum(0).double() for r in rows), 0.0)
        scale = torch.rsqrt(_group_means(squares, norm, length) + NORM_EPS) * norm.weight
        for r in rows:
            values = (sample[r] - mean).mul_(scale).add_(norm.bias)
            sample[r] = F.silu(values, inplace=True)
        at += length
    return x


def _group_means(sums: Tensor | float, norm: SegmentGroupNorm, count: int) -> Tensor:
    """Mean of each group, float32 [C], from the sums of its channels [C] over `count` tokens."""
    if not isinstance(sums, Tensor):  # no tokens
        return torch.zeros_like(norm.weight)
    means = (sums / count).unflatten(0, (norm.groups, -1)).mean(1, keepdim=True)
    return means.expand(-1, len(sums) // norm.groups).flatten().float()


def run_subdivision(
    block: SubdivideBlock, x: SparseTensor, *, head: nn.Linear | None = None, chunk_bytes: int = CHUNK_BYTES
) -> SparseTensor:
    """`block(x)` [8 N, O], or with `head` the float32 outputs of that layer, without keeping the features between."""
    conv1, norm, _, conv2 = block.out_layers
    assert isinstance(conv1, SparseConv3d) and isinstance(conv2, SparseConv3d)
    first = block.act_layers[0]
    assert isinstance(first, SegmentGroupNorm) and isinstance(norm, SegmentGroupNorm)
    active = normalize_activate(x.feats.clone(), first, lengths=x.lengths, chunk_bytes=chunk_bytes)
    layout = subdivided(x.layout)
    padded = F.pad(conv1.of_subdivided(x.replace(active)).feats, (0, 0, 0, 1))
    del active
    normalize_activate(padded[:-1], norm, lengths=layout.lengths, chunk_bytes=chunk_bytes)
    skip = block.skip_connection(x).feats
    convolve = RowConvolution(padded, conv2.conv.weight, bias=conv2.conv.bias, backend=conv2.backend)
    width, outputs = padded.shape[1], len(conv2.conv.bias) if head is None else head.out_features
    out = padded.new_empty(len(layout), outputs, dtype=padded.dtype if head is None else torch.float32)
    row_bytes = convolve.row_bytes + 27 * 8 + 8 * (width + outputs)
    at = 0
    for sample, length in enumerate(layout.lengths):
        grid = NeighbourGrid(
            layout.coords[at : at + length], resolution=layout.resolution, first=sample, offset=at, none=len(layout)
        )
        for rows in pieces(length, row_bytes, chunk_bytes):
            start, stop = at + rows.start, at + rows.stop
            h = convolve(grid.rows(rows))
            h += _repeat_rows(skip, start, stop)
            out[start:stop] = h if head is None else run_head(head, h, norm=False)
        at += length
    return SparseTensor(out, layout)


def _repeat_rows(parents: Tensor, start: int, stop: int) -> Tensor:
    """Rows start..stop of the parents' features with each repeated for 8 children."""
    first = start // 8
    repeated = parents[first : -(-stop // 8)].repeat_interleave(8, 0)
    return repeated[start - 8 * first : stop - 8 * first]
