"""Changes of resolution on occupied voxels: downsample, upsample, subdivide. No parameters."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.sparse.layout import VoxelLayout
from trellis.sparse.tensor import SparseTensor


@dataclass(frozen=True, eq=False)
class Coarser:
    """The half-resolution layout, and who belongs to whom.

    parents int32 [N]: coarse row of each fine voxel; children int32 [M, 8]: fine rows of each coarse voxel, N for none.
    """

    layout: VoxelLayout
    parents: Tensor
    children: Tensor


def coarser(layout: VoxelLayout) -> Coarser:
    """Voxels `coord // 2`, unique, sorted by (sample, x, y, z); computed once per layout."""
    return layout.cached("coarser", lambda: _coarser(layout))


def _coarser(layout: VoxelLayout) -> Coarser:
    side = (layout.resolution + 1) // 2
    b, x, y, z = layout.coords.long().unbind(1)
    key = ((b * side + x // 2) * side + y // 2) * side + z // 2
    key, parents = torch.unique(key, return_inverse=True)
    sample = key // side**3
    coords = torch.stack([sample, key // side**2 % side, key // side % side, key % side], 1).int()
    lengths = torch.bincount(sample, minlength=len(layout.lengths)).tolist()
    slot = (x % 2) * 4 + (y % 2) * 2 + z % 2
    children = torch.full((key.shape[0] * 8,), len(layout), dtype=torch.int32, device=layout.device)
    children[parents * 8 + slot] = torch.arange(len(layout), dtype=torch.int32, device=layout.device)
    return Coarser(VoxelLayout(coords, tuple(lengths), side), parents.int(), children.view(-1, 8))


def _sum_children(feats: Tensor, children: Tensor) -> Tensor:
    padded = F.pad(feats, (0, 0, 0, 1))
    return padded.index_select(0, children.reshape(-1)).unflatten(0, (-1, 8)).sum(1)


class _SumToParents(torch.autograd.Function):
    """Sum of the children in a fixed order: no atomics either way."""

    @staticmethod
    def forward(ctx: Any, feats: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        ctx.save_for_backward(parents)
        return _sum_children(feats, children)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (parents,) = ctx.saved_tensors
        return grads[0].index_select(0, parents), None, None


class _CopyToChildren(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        ctx.save_for_backward(children)
        return feats.index_select(0, parents)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (children,) = ctx.saved_tensors
        return _sum_children(grads[0], children), None, None


def downsample(x: SparseTensor) -> SparseTensor:
    """Halve the resolution of feats [N, C]; the pooled value is `sum / (count + 1)`, which trained weights expect."""
    coarse = coarser(x.layout)
    count = coarse.layout.cached(
        "children_count", lambda: (coarse.children < len(x)).sum(1, keepdim=True, dtype=torch.int32)
    )
    total = _SumToParents.apply(x.feats, coarse.parents, coarse.children)
    return SparseTensor(total / (count + 1).to(total.dtype), coarse.layout)


def upsample(x: SparseTensor, fine: VoxelLayout) -> SparseTensor:
    """Nearest neighbour, back to the voxels and the order of `fine`, the layout that was downsampled to x's.

    Raises InvalidInputError if x does not lie on the layout that `downsample` made of `fine`.
    """
    coarse = coarser(fine)
    if coarse.layout is not x.layout:
        raise InvalidInputError("upsample needs the layout that was downsampled to this tensor.")
    return SparseTensor(_CopyToChildren.apply(x.feats, coarse.parents, coarse.children), fine)


def subdivided(layout: VoxelLayout) -> VoxelLayout:
    """Each voxel split into 8 adjacent children `2 * coord + offset`, offsets (0,0,0), (0,0,1), (0,1,0) ... (1,1,1)."""
    return layout.cached("subdivided", lambda: _subdivided(layout))


def _subdivided(layout: VoxelLayout) -> VoxelLayout:
    index = torch.arange(8, dtype=torch.int32, device=layout.device)
    offset = torch.stack([torch.zeros_like(index), index // 4, index // 2 % 2, index % 2], 1)
    scale = torch.tensor([1, 2, 2, 2], dtype=torch.int32, device=layout.device)
    coords = ((layout.coords * scale)[:, None] + offset).flatten(0, 1)
    return VoxelLayout(coords, tuple(8 * n for n in layout.lengths), 2 * layout.resolution)


def subdivide(x: SparseTensor) -> SparseTensor:
    """Double the resolution: feats [N, ...] -> [8 N, ...], each voxel's features repeated for its children."""
    feats = x.feats[:, None].expand(-1, 8, *x.feats.shape[1:]).flatten(0, 1)
    return SparseTensor(feats, subdivided(x.layout))


def upsampled_neighbours(fine: VoxelLayout) -> Tensor:
    """Coarse row (in the layout `downsample` makes) of the neighbours of each fine voxel, int32 [N, 27]; M for none."""

    def compute() -> Tensor:
        coarse = coarser(fine)
        parents = F.pad(coarse.parents, (0, 1), value=len(coarse.layout))
        return parents.index_select(0, fine.neighbours.flatten()).view(-1, 27)

    return fine.cached("upsampled_neighbours", compute)
