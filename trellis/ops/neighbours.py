"""Table of the 27 neighbours of every voxel, by a dense lookup."""

import torch
from torch import Tensor

ROWS = 1 << 20  # looked up at a time
MAX_GRID_CELLS = 1 << 27  # of the int32 lookup grid: 512 MiB


class NeighbourGrid:
    """A dense grid that knows the row of every voxel: neighbours of any rows at any time, without a table of all.

    coords int32 [N, 4] (sample, x, y, z), samples contiguous, inside resolution^3; their samples lie in
    [first, first + count). Rows are counted from `offset`; `none` stands for "no voxel".
    """

    def __init__(
        self,
        coords: Tensor,
        *,
        resolution: int,
        first: int = 0,
        count: int = 1,
        offset: int = 0,
        none: int | None = None,
    ) -> None:
        side = resolution + 2
        b, x, y, z = coords.unbind(1)
        self._cell = (((b - first) * side + x + 1) * side + y + 1) * side + z + 1
        none = len(coords) if none is None else none
        self._grid = torch.full((count * side**3,), none, dtype=torch.int32, device=coords.device)
        rows = torch.arange(offset, offset + len(coords), dtype=torch.int32, device=coords.device)
        self._grid[self._cell.long()] = rows
        reach = torch.arange(-1, 2, dtype=torch.int32, device=coords.device)
        self._steps = ((reach[:, None, None] * side + reach[:, None]) * side + reach).flatten()

    def rows(self, rows: slice) -> Tensor:
        """Neighbours int32 [n, 27] of some of the voxels, columns as in `neighbour_table`."""
        places = self._cell[rows, None] + self._steps
        return self._grid.index_select(0, places.flatten()).view(-1, 27)


def neighbour_table(coords: Tensor, lengths: tuple[int, ...], *, resolution: int) -> Tensor:
    """Row of each voxel's neighbours, int32 [N, 27]; N where there is none.

    coords int32 [N, 4] (sample, x, y, z), samples contiguous with `lengths` voxels, inside resolution^3.
    Column (dx + 1) * 9 + (dy + 1) * 3 + (dz + 1) holds the voxel at +d; column 26 - j mirrors column j.
    """
    total = coords.shape[0]
    table = torch.empty(total, 27, dtype=torch.int32, device=coords.device)
    at, per_chunk = 0, max(1, MAX_GRID_CELLS // (resolution + 2) ** 3)
    for first in range(0, len(lengths), per_chunk):
        chunk = lengths[first : first + per_chunk]
        end = at + sum(chunk)
        grid = NeighbourGrid(
            coords[at:end], resolution=resolution, first=first, count=len(chunk), offset=at, none=total
        )
        for start in range(0, end - at, ROWS):
            stop = min(start + ROWS, end - at)
            table[at + start : at + stop] = grid.rows(slice(start, stop))
        at = end
    return table
