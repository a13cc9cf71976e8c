"""Sets of grid vertices as sorted keys: which are in a set, and where.

A key is the x-major index in a (side)^3 grid. The set is a table of the grid, which makes every question one look-up,
where the grid is not too large; on a CPU, where filling a table takes its time, only for sets that fill enough of it.
"""

import torch
from torch import Tensor

DENSE_VERTICES = 1 << 26  # of a table with 4 bytes each
CPU_SHARE = 16  # vertices of the table for each key of the set, at most


class KeyIndex:
    """What belongs to each key in a sorted list [n] of distinct keys of a grid of `side`^3: `values` int64 [n], without
    them the key's place in the list.

    Questions may lie outside the grid by one step along each axis.
    """

    def __init__(self, keys: Tensor, side: int, values: Tensor | None = None) -> None:
        self.keys = keys
        self._values = torch.arange(len(keys), device=keys.device) if values is None else values
        self._margin = _margin(side)
        self._table: Tensor | None = None
        if _is_dense(len(keys), side, keys.device):
            self._table = torch.full((side**3 + 2 * self._margin,), -1, dtype=torch.int32, device=keys.device)
            self._table[keys + self._margin] = self._values.int()

    def find(self, keys: Tensor, step: int = 0) -> Tensor:
        """The value int64 of each of `keys + step`, -1 where that is not in the list."""
        if self._table is not None:
            return self._table[keys + (step + self._margin)].long()
        if len(self.keys) == 0:
            return torch.full_like(keys, -1)
        keys = keys + step
        at = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[at] == keys, self._values[at], -1)


def unique_keys(keys: Tensor, steps: list[int], side: int) -> Tensor:
    """All of `keys + step` for each of the steps, once and sorted; they may lie outside the grid by one step."""
    if not _is_dense(len(keys) * len(steps), side, keys.device):
        return torch.cat([keys + step for step in steps]).unique()
    margin = _margin(side)
    marked = torch.zeros(side**3 + 2 * margin, dtype=torch.bool, device=keys.device)
    for step in steps:
        marked[keys + (step + margin)] = True
    return marked.nonzero().squeeze(1) - margin


def _is_dense(count: int, side: int, device: torch.device) -> bool:
    fills = device.type != "cpu" or count * CPU_SHARE >= side**3
    return fills and side**3 <= DENSE_VERTICES


def _margin(side: int) -> int:
    """The farthest that a step along each axis leads outside."""
    return side * side + side + 1
