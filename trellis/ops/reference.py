"""Plain-torch twins of the operators: slow, obvious, for the tests to compare with."""

import torch
from torch import Tensor


def packed_attention(
    q: Tensor, k: Tensor, *, v: Tensor, q_lengths: tuple[int, ...], k_lengths: tuple[int, ...]
) -> Tensor:
    """Softmax attention of each pair of segments by itself: q [Tq, H, D], k and v [Tk, H, D] -> [Tq, H, D]."""
    outs = []
    for qi, ki, vi in zip(q.split(q_lengths), k.split(k_lengths), v.split(k_lengths)):
        scores = torch.einsum("qhd,khd->hqk", qi, ki) / q.shape[-1] ** 0.5
        outs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), vi))
    return torch.cat(outs)


def submanifold_conv(feats: Tensor, weight: Tensor, *, bias: Tensor, coords: Tensor) -> Tensor:
    """`out[p] = bias + sum_d W[:, d] @ feats[p + d]` one voxel and one neighbour at a time; coords [N, 4]."""
    rows = {tuple(c): row for row, c in enumerate(coords.tolist())}
    outs = []
    for b, x, y, z in coords.tolist():
        total = bias
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                for dz in (-1, 0, 1):
                    row = rows.get((b, x + dx, y + dy, z + dz))
                    if row is not None:
                        total = total + weight[:, dx + 1, dy + 1, dz + 1] @ feats[row]
        outs.append(total)
    return torch.stack(outs)
