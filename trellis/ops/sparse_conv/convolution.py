"""Convolutions on occupied voxels only: one public function per kernel.

`backend` is one of `trellis.runtime.SPARSE_CONV_BACKENDS`, None for the fastest of the built-in ways: "builtin" is
torch's gather, "triton" kernels for half precision, and what they cannot do is done by the gather.
spconv has an interface of its own, `spconv_adapter`; what it does not offer is done by the gather.
"""

import torch
from torch import Tensor

from trellis.ops.sparse_conv import choice, gather, trained

# Offsets -1, 0, 1 of a child fall on two neighbouring parents: rows = parents, columns = the three taps.
_LOW = ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0))  # the child in the lower half: parents -1 and 0
_HIGH = ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0))  # the child in the upper half: parents 0 and +1


def _compute_dtype(feats: Tensor) -> torch.dtype:
    kind = feats.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else feats.dtype


def _convolve(
    feats: Tensor,
    taps: Tensor,
    *,
    bias: Tensor,
    table: Tensor,
    columns: gather.Columns,
    backend: str | None,
) -> Tensor:
    if (kernels := choice.trained_kernels(feats, taps, backend=backend)) is not None:
        return trained.apply(feats, taps, bias=bias, table=table, kernels=kernels)
    kernel = choice.kernel_for(feats, taps, backend=backend)
    if kernel is None:
        return gather.apply(feats, taps, bias=bias, table=table, columns=columns)
    out = feats.new_empty(len(feats), taps.shape[0] * taps.shape[1])
    kernel(feats, taps, bias=bias, table=table, out=out)
    return out


def submanifold_conv(
    feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor, backend: str | None = None
) -> Tensor:
    """3^3 convolution of occupied voxels: `out[p] = bias + sum_d W[:, d] @ feats[p + d]` (cross-correlation).

    feats [N, I], weight [O, 3, 3, 3, I], bias [O], neighbours int32 [N, 27] (N = none) -> [N, O].
    Runs in the dtype of feats, or of autocast. Equal to a zero-padded conv3d on a full grid.
    """
    dtype = _compute_dtype(feats)
    taps = weight.to(dtype).flatten(1, 3)[None]
    columns = gather.ALL
    return _convolve(feats.to(dtype), taps, bias=bias.to(dtype), table=neighbours, columns=columns, backend=backend)


def submanifold_conv_of_subdivided(
    feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor, backend: str | None = None
) -> Tensor:
    """`submanifold_conv` of voxels split into 8 children that repeat their features, without splitting them.

    feats [N, I] and neighbours [N, 27] are those of the parents; -> [8 N, O], children of a voxel adjacent.
    The three taps of an axis fall on two parents, so weights are summed and 27 products become 8.
    """
    dtype = _compute_dtype(feats)
    halves = torch.tensor((_LOW, _HIGH), device=weight.device)
    with torch.autocast(feats.device.type, enabled=False):
        taps = torch.einsum("pai,oijkn->poajkn", halves, weight.float())
        taps = torch.einsum("qbj,poajkn->pqoabkn", halves, taps)
        taps = torch.einsum("rck,pqoabkn->pqroabcn", halves, taps)
    taps = taps.to(dtype).flatten(0, 2).flatten(2, 4)
    columns = gather.CORNERS
    out = _convolve(feats.to(dtype), taps, bias=bias.to(dtype), table=neighbours, columns=columns, backend=backend)
    return out.unflatten(1, (8, -1)).flatten(0, 1)


def submanifold_conv_of_upsampled(
    feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor, backend: str | None = None
) -> Tensor:
    """`submanifold_conv` of fine voxels that repeat their parent's features, from the parents' features [M, I].

    neighbours int32 [N, 27]: coarse row of each fine neighbour, M for none -> [N, O]. Every parent is multiplied with
    all 27 taps once, then each fine voxel sums its neighbours' products (in float32). No gradient.
    """
    count, width = weight.shape[0], weight.shape[-1]
    taps = weight.to(feats.dtype).permute(4, 1, 2, 3, 0).reshape(width, 27 * count)
    products = feats @ taps
    sum_products = choice.sum_kernel_for(products, backend=backend) or gather.sum_products
    return sum_products(products, neighbours, bias=bias)


class RowConvolution:
    """`submanifold_conv` of some rows at a time, in memory that they bound. No gradient.

    padded [N + 1, I]: features of all voxels and a row of zeros; weight [O, 3, 3, 3, I], bias [O].
    """

    def __init__(self, padded: Tensor, weight: Tensor, *, bias: Tensor, backend: str | None = None) -> None:
        self._padded = padded
        self._taps = weight.to(padded.dtype).flatten(1, 3)[None]
        self._bias = bias.to(padded.dtype)
        self._kernel = choice.kernel_for(padded, self._taps, backend=backend)

    @property
    def row_bytes(self) -> int:
        """Work space that a row needs beside its result."""
        gathered = 27 * self._padded.shape[1] * self._padded.element_size()
        return gathered if self._kernel is None else 0

    def __call__(self, table: Tensor) -> Tensor:
        """The results [n, O] of the voxels with the neighbours table int32 [n, 27] (N = none)."""
        out = self._padded.new_empty(len(table), len(self._bias))
        if self._kernel is None:
            matrix = self._taps[0].flatten(1).t()
            return gather.convolve_rows(self._padded, matrix, bias=self._bias, table=table, out=out)
        self._kernel(self._padded, self._taps, bias=self._bias, table=table, out=out, none=len(self._padded) - 1)
        return out
