"""The voxels of an edited object: new ones in the region, the source's outside, and no hole into its inside."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

TOUCHING = np.ones((3, 3, 3), dtype=bool)  # a voxel's 26 neighbours


def occupancy(coords: Tensor, resolution: int) -> Tensor:
    """Bool [R, R, R] of voxels int [N, 3], on the CPU."""
    grid = torch.zeros(resolution, resolution, resolution, dtype=torch.bool)
    grid[tuple(coords.cpu().long().unbind(1))] = True
    return grid


def edited_cells(mask: Tensor, side: int) -> Tensor:
    """Bool [side, side, side]: cells of the structure's latent that hold a voxel of `mask` [R, R, R]."""
    cell = mask.shape[0] // side
    return torch.nn.functional.max_pool3d(mask[None, None].float(), cell)[0, 0] > 0


def enclosed(grid: Tensor) -> Tensor:
    """Bool [R, R, R]: empty voxels that no path of empty ones (6-connected) joins with the outside."""
    empty = np.pad(~grid.numpy(), 1, constant_values=True)
    labels, _ = ndimage.label(empty)
    return torch.from_numpy((empty & (labels != labels[0, 0, 0]))[1:-1, 1:-1, 1:-1].copy())


def held_inside(grid: Tensor) -> Tensor:
    """Bool [R, R, R]: empty voxels inside of a shell, whose gaps of a voxel or two (models make them) do not count."""
    return enclosed(grid) | (thickened(enclosed(thickened(grid))) & ~grid)


def thickened(grid: Tensor) -> Tensor:
    """Bool [R, R, R]: the voxels of `grid` and their 26 neighbours."""
    thick = grid.numpy()
    for _ in range(3):  # an axis at a time, each the first once
        thick = thick.transpose(1, 2, 0)
        thick, before = thick.copy(), thick
        thick[1:] |= before[:-1]
        thick[:-1] |= before[1:]
    return torch.from_numpy(thick)


def edited_occupancy(source: Tensor, new: Tensor, mask: Tensor, *, remove: bool, drop_loose: bool) -> Tensor:
    """The occupancy [R, R, R] of the edited object: `new` in `mask`, `source` outside.

    drop_loose: pieces of the region that hang on nothing go, where the source had none there. What the source holds
    inside and outside of the region stays inside: where that is not so, and always with `remove` (`new` is empty then),
    the cut is closed by the voxels of the region that `cut_voxels` finds.
    """
    result = torch.where(mask, new, source)
    if drop_loose:
        result &= ~_loose(result, source, mask)
    if remove or any(bool((within(source) & ~mask & ~within(result)).any()) for within in (enclosed, held_inside)):
        cut = cut_voxels(source, mask)
        closed = result | cut
        if not remove:  # what lies wholly inside of the new part closes nothing
            cut &= thickened(~closed & ~held_inside(closed))
        result = result | cut
    return result


def cut_voxels(source: Tensor, mask: Tensor) -> Tensor:
    """Voxels of `mask` that the source holds, as shell or inside, and that touch (26) one inside of it outside."""
    inside = held_inside(source)
    return mask & thickened(inside & ~mask) & (source | inside)


def _loose(grid: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """Pieces of `grid` that lie in `mask` alone, unless the source had a loose piece at that place.

    A gap of a voxel or two, as models leave it where the new part begins, makes no piece loose.
    """
    pieces = _inner_pieces(grid, thickened(grid), mask)
    before = _inner_pieces(source, source, mask) > 0
    kept = np.unique(pieces[before])
    return torch.from_numpy((pieces > 0) & ~np.isin(pieces, kept))


def _inner_pieces(grid: Tensor, joined: Tensor, mask: Tensor) -> NDArray[np.int64]:
    """Numbers [R, R, R] of the pieces of `grid`, as `joined` connects them (26), that have no voxel outside of `mask`;
    0 elsewhere.
    """
    labels = ndimage.label(joined.numpy(), structure=TOUCHING)[0] * grid.numpy()
    outer = np.unique(labels[~mask.numpy()])
    return np.where(np.isin(labels, outer), 0, labels).astype(np.int64)
