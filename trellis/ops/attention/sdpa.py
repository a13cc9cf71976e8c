"""Packed attention by scaled_dot_product_attention: equal segments in one batch, ragged ones by runs or buckets."""

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.ops.eager import eager
from trellis.ops.segments import Segments

BUCKET = 64  # segments whose lengths round up to the same multiple share one padded batch
MAX_RUNS = 8  # on an accelerator, more launches than this cost more than padding


def is_usable(q: Tensor) -> bool:
    """Always."""
    return True


def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`."""
    if q_segments.is_uniform and k_segments.is_uniform:
        return _attend_equal(q, k, v, len(q_segments))
    return _attend_ragged(q, k, v, q_segments, k_segments)


@eager
def _attend_ragged(q: Tensor, k: Tensor, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    if q_segments is k_segments and q.device.type != "cpu" and len(q_segments.runs()) > MAX_RUNS:
        return _attend_padded(q, k, v, q_segments)
    if q_segments is k_segments:
        runs = [(length, length, count) for length, count in q_segments.runs()]
    else:
        pairs = groupby(zip(q_segments.lengths, k_segments.lengths))
        runs = [(*pair, len(list(group))) for pair, group in pairs]
    return _attend_runs(q, k, v, runs)


def _attend_equal(q: Tensor, k: Tensor, v: Tensor, count: int, mask: Tensor | None = None) -> Tensor:
    """[count * L, H, D] each -> [count * Lq, H, D]."""
    q, k, v = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(0, 1)


def _attend_runs(q: Tensor, k: Tensor, v: Tensor, runs: list[tuple[int, int, int]]) -> Tensor:
    outs, q_at, k_at = [], 0, 0
    for q_length, k_length, count in runs:
        q_end, k_end = q_at + q_length * count, k_at + k_length * count
        if q_end > q_at:
            outs.append(_attend_equal(q[q_at:q_end], k[k_at:k_end], v[k_at:k_end], count))
        q_at, k_at = q_end, k_end
    return torch.cat(outs)


def _buckets(segments: Segments) -> list[tuple[int, int, int, Tensor, Tensor]]:
    """(first token, token after the last, segments, index of each token in the padded batch, mask)."""
    buckets, at, first = [], 0, 0
    for _, group in groupby(segments.lengths, lambda length: -(-length // BUCKET)):
        lengths = tuple(group)
        end, width = at + sum(lengths), max(lengths)
        if end > at:
            owner = segments.index()[at:end] - first
            within = torch.arange(at, end, device=segments.device) - segments.boundaries()[:-1].long()[owner + first]
            sizes = torch.tensor(lengths, device=segments.device)
            mask = torch.arange(width, device=segments.device) < sizes[:, None]
            buckets.append((at, end, len(lengths), owner * width + within, mask[:, None, None]))
        at, first = end, first + len(lengths)
    return buckets


def _attend_padded(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    outs = []
    for at, end, count, place, mask in segments.cached("buckets", lambda: _buckets(segments)):
        rows = count * mask.shape[-1]
        padded_q, padded_k, padded_v = (
            x.new_zeros(rows, *x.shape[1:]).index_copy(0, place, x[at:end]) for x in (q, k, v)
        )
        outs.append(_attend_equal(padded_q, padded_k, padded_v, count, mask).index_select(0, place))
    return torch.cat(outs)
