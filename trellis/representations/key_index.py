"""Sets of grid vertices as sorted keys: which are in a set, and where.

A key is the x-major index in a (side)^3 grid. The set is a table of the grid, which makes every question one look-up,
where the grid is not too large; on a CPU, where filling a table takes its time, only for sets that fill enough of it.
"""

import torch
from torch import Tensor

DENSE_VERTICES = 1 << 26  # of a table with 4 bytes each
CPU_SHARE = 16  # vertices of the table for each key of the set, at most


class KeyIndex:
    """The place of each key in a sorted list [n] of distinct keys of a grid of `side`^3.

    Questions may lie outside the grid by one step along each axis.
    """

    def __init__(self, keys: Tensor, side: int) -> None:
        self.keys = keys
        self._margin = _margin(side)
        self._table: Tensor | None = None
        if _is_dense(len(keys), side, keys.device):
            self._table = torch.full((side**3 + 2 * self._margin,), -1, dtype=torch.int32, device=keys.device)
            self._table[keys + self._margin] = torch.arange(len(keys), dtype=torch.int32, device=keys.device)

    def find(self, queries: Tensor) -> Tensor:
        """Index int64 of each query in the list, -1 where absent."""
        if self._table is not None:
            return self._table[queries + self._margin].long()
        if len(self.keys) == 0:
            return torch.full_like(queries, -1)
        at = torch.searchsorted(self.keys, queries).clamp_(max=len(self.keys) - 1)
        return torch.where(self.keys[at] == queries, at, -1)


def unique_keys(parts: list[Tensor], side: int) -> Tensor:
    """All keys of the parts, each once, sorted."""
    if not _is_dense(sum(len(part) for part in parts), side, parts[0].device):
        return torch.cat(parts).unique()
    margin = _margin(side)
    marked = torch.zeros(side**3 + 2 * margin, dtype=torch.bool, device=parts[0].device)
    for part in parts:
        marked[part + margin] = True
    return marked.nonzero().squeeze(1) - margin


def _is_dense(count: int, side: int, device: torch.device) -> bool:
    fills = device.type != "cpu" or count * CPU_SHARE >= side**3
    return fills and side**3 <= DENSE_VERTICES


def _margin(side: int) -> int:
    """The farthest that a step along each axis leads outside."""
    return side * side + side + 1
