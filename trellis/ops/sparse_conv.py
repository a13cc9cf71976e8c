"""Convolutions on occupied voxels only: one public function per kernel."""

import torch
from torch import Tensor

from trellis.ops import sparse_conv_gather

# Offsets -1, 0, 1 of a child fall on two neighbouring parents: rows = parents, columns = the three taps.
_LOW = ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0))  # the child in the lower half: parents -1 and 0
_HIGH = ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0))  # the child in the upper half: parents 0 and +1


def _compute_dtype(feats: Tensor) -> torch.dtype:
    kind = feats.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else feats.dtype


def submanifold_conv(feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor) -> Tensor:
    """3^3 convolution of occupied voxels: `out[p] = bias + sum_d W[:, d] @ feats[p + d]` (cross-correlation).

    feats [N, I], weight [O, 3, 3, 3, I], bias [O], neighbours int32 [N, 27] (N = none) -> [N, O].
    Runs in the dtype of feats, or of autocast. Equal to a zero-padded conv3d on a full grid.
    """
    dtype = _compute_dtype(feats)
    taps = weight.to(dtype).flatten(1, 3)[None]
    columns = (tuple(range(27)),)
    return sparse_conv_gather.apply(feats.to(dtype), taps, bias=bias.to(dtype), table=neighbours, columns=columns)


def submanifold_conv_of_subdivided(feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor) -> Tensor:
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
    columns = tuple(
        tuple((px + a) * 9 + (py + b) * 3 + pz + c for a in (0, 1) for b in (0, 1) for c in (0, 1))
        for px in (0, 1)
        for py in (0, 1)
        for pz in (0, 1)
    )
    out = sparse_conv_gather.apply(feats.to(dtype), taps, bias=bias.to(dtype), table=neighbours, columns=columns)
    return out.unflatten(1, (8, -1)).flatten(0, 1)


def submanifold_conv_of_upsampled(feats: Tensor, weight: Tensor, *, bias: Tensor, neighbours: Tensor) -> Tensor:
    """`submanifold_conv` of fine voxels that repeat their parent's features, from the parents' features [M, I].

    neighbours int32 [N, 27]: coarse row of each fine neighbour, M for none -> [N, O]. Every parent is multiplied with
    all 27 taps once, then each fine voxel sums its neighbours' products (in float32). No gradient.
    """
    count, width = weight.shape[0], weight.shape[-1]
    taps = weight.to(feats.dtype).permute(4, 1, 2, 3, 0).reshape(width, 27 * count)
    return sparse_conv_gather.sum_products(feats @ taps, neighbours, bias=bias)
