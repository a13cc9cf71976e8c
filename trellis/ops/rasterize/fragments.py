"""Expansion of items that cover ranges of pixels into flat lists of fragments, in pieces of bounded size."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Fragments worked on at once: about 100 bytes each, so that a piece stays near 200 MB.
FRAGMENT_BUDGET = 1 << 21


def expand(counts: Tensor, *, budget: int = FRAGMENT_BUDGET) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (owner, offset) int64 [m <= budget]: item `owner` covers fragments `offset` = 0..counts[owner]-1.

    counts [n] int64, >= 0. Pieces come in order of the items and an item may be spread over several pieces.
    Costs two transfers to the host, however many pieces there are.
    """
    if counts.numel() == 0:
        return
    ends = counts.cumsum(0)
    total = int(ends[-1])
    piece_starts = list(range(0, total, budget))
    if len(piece_starts) > 1:
        first = torch.searchsorted(ends, torch.tensor(piece_starts, device=ends.device), right=True).tolist()
    else:
        first = [0]
    for index, begin in enumerate(piece_starts):
        end = min(begin + budget, total)
        last = first[index + 1] + 1 if index + 1 < len(first) else len(counts)
        ids = torch.arange(first[index], last, device=counts.device)
        item_ends = ends[first[index] : last]
        item_starts = item_ends - counts[first[index] : last]
        inside = item_ends.clamp(max=end) - item_starts.clamp(min=begin)
        owner = torch.repeat_interleave(ids, inside.clamp(min=0), output_size=end - begin)
        offset = torch.arange(begin, end, device=counts.device) - item_starts[owner - first[index]]
        yield owner, offset
