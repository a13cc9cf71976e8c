"""Packed sequences: tokens of many samples in one row-major list, with the length of each sample."""

from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Segments:
    """Lengths of consecutive runs of tokens; `device` is where index tensors are made and cached."""

    lengths: tuple[int, ...]
    device: torch.device
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total(self) -> int:
        return sum(self.lengths)

    @property
    def is_uniform(self) -> bool:
        """All segments have one length, so packed tokens are a plain [segments, length, ...] view."""
        return len(set(self.lengths)) <= 1

    @property
    def starts(self) -> tuple[int, ...]:
        """First token of each segment, and the total at the end."""
        return (0, *accumulate(self.lengths))

    def boundaries(self) -> Tensor:
        """`starts` as int32 [segments + 1] on the device."""
        if "boundaries" not in self._cache:
            self._cache["boundaries"] = torch.tensor(self.starts, dtype=torch.int32, device=self.device)
        return self._cache["boundaries"]

    def index(self) -> Tensor:
        """Segment of each token, int64 [total]."""
        if "index" not in self._cache:
            counts = torch.tensor(self.lengths, device=self.device)
            ids = torch.arange(len(self.lengths), device=self.device)
            self._cache["index"] = torch.repeat_interleave(ids, counts, output_size=self.total)
        return self._cache["index"]

    def membership(self, dtype: torch.dtype) -> Tensor:
        """One-hot matrix [segments, total]: its product with tokens sums each segment, in a fixed order."""
        if ("membership", dtype) not in self._cache:
            ids = torch.arange(len(self.lengths), device=self.device)
            self._cache["membership", dtype] = (ids[:, None] == self.index()[None]).to(dtype)
        return self._cache["membership", dtype]

    def runs(self) -> tuple[tuple[int, int], ...]:
        """(length, how many) of consecutive equal segments."""
        if "runs" not in self._cache:
            self._cache["runs"] = tuple((length, len(list(group))) for length, group in groupby(self.lengths))
        return self._cache["runs"]


class _Expand(torch.autograd.Function):
    """Rows of a per-segment table, repeated for each token; the gradient is a matrix product, without atomics."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return table.index_select(0, segments.index())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _segment_sum(grads[0], ctx.segments), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return _segment_sum(tokens, segments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(0, ctx.segments.index()), None


def _segment_sum(tokens: Tensor, segments: Segments) -> Tensor:
    if len(segments) == 1:
        return tokens.sum(0, keepdim=True)
    with torch.autocast(tokens.device.type, enabled=False):
        return segments.membership(tokens.dtype) @ tokens


def expand_segments(table: Tensor, segments: Segments) -> Tensor:
    """Per-segment rows [segments, C] -> per-token rows [total, C]."""
    if len(segments) == 1:
        return table.expand(segments.total, -1)
    return _Expand.apply(table, segments)


def sum_segments(tokens: Tensor, segments: Segments) -> Tensor:
    """Sum of tokens [total, C] over each segment -> [segments, C]."""
    return _Sum.apply(tokens, segments)


def modulate(tokens: Tensor, scale: Tensor, shift: Tensor, segments: Segments) -> Tensor:
    """`tokens * (1 + scale) + shift` with scale and shift given per segment: [total, C], [segments, C] twice."""
    if segments.is_uniform:
        grid = tokens.unflatten(0, (len(segments), -1))
        return (grid * (1 + scale[:, None]) + shift[:, None]).flatten(0, 1)
    return tokens * (1 + expand_segments(scale, segments)) + expand_segments(shift, segments)


def gate(tokens: Tensor, factor: Tensor, segments: Segments) -> Tensor:
    """`tokens * factor` with the factor given per segment: [total, C], [segments, C]."""
    if segments.is_uniform:
        return (tokens.unflatten(0, (len(segments), -1)) * factor[:, None]).flatten(0, 1)
    return tokens * expand_segments(factor, segments)
