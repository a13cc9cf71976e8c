"""Table of the 27 neighbours of every voxel, by a dense lookup."""

import torch
from torch import Tensor

ROWS = 1 << 20  # looked up at a time
MAX_GRID_CELLS = 1 << 27  # of the int32 lookup grid: 512 MiB


def neighbour_table(coords: Tensor, lengths: tuple[int, ...], *, resolution: int) -> Tensor:
    """Row of each voxel's neighbours, int32 [N, 27]; N where there is none.

    coords int32 [N, 4] (sample, x, y, z), samples contiguous with `lengths` voxels, inside resolution^3.
    Column (dx + 1) * 9 + (dy + 1) * 3 + (dz + 1) holds the voxel at +d; column 26 - j mirrors column j.
    """
    side, total = resolution + 2, coords.shape[0]
    table = torch.empty(total, 27, dtype=torch.int32, device=coords.device)
    reach = torch.tensor([-1, 0, 1], dtype=torch.int32, device=coords.device)
    steps = ((reach[:, None, None] * side + reach[:, None]) * side + reach).flatten()
    at, per_chunk = 0, max(1, MAX_GRID_CELLS // side**3)
    for first in range(0, len(lengths), per_chunk):
        chunk = lengths[first : first + per_chunk]
        end = at + sum(chunk)
        b, x, y, z = coords[at:end].unbind(1)
        cell = (((b - first) * side + x + 1) * side + y + 1) * side + z + 1
        grid = torch.full((len(chunk) * side**3,), total, dtype=torch.int32, device=coords.device)
        grid[cell.long()] = torch.arange(at, end, dtype=torch.int32, device=coords.device)
        for rows in range(at, end, ROWS):
            stop = min(rows + ROWS, end)
            places = cell[rows - at : stop - at, None] + steps
            table[rows:stop] = grid.index_select(0, places.flatten()).view(-1, 27)
        at = end
    return table
