"""Packed sequences: tokens of many samples in one row-major list, with the length of each sample."""

from collections.abc import Callable
from itertools import accumulate, groupby
from typing import Any, TypeVar

import torch
from torch import Tensor

from trellis.ops.eager import eager
from trellis.ops.transfers import sent

T = TypeVar("T")


class Segments:
    """Lengths of consecutive runs of tokens; `device` is where index tensors are made and cached. Do not change it.

    is_uniform: all segments have one length, so packed tokens are a plain [segments, length, ...] view.
    total, longest: sum and largest of the lengths.
    (Plain attributes, so that a compiled block does not depend on every length.)
    """

    def __init__(self, lengths: tuple[int, ...], device: torch.device) -> None:
        self.lengths = lengths
        self.device = device
        self.is_uniform = len(set(lengths)) <= 1
        self.total = sum(lengths)
        self.longest = max(lengths, default=0)
        self._cache: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def cached(self, key: Any, compute: Callable[[], T]) -> T:
        """The value stored under `key`, computed on first use."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    @property
    def starts(self) -> tuple[int, ...]:
        """First token of each segment, and the total at the end."""
        return (0, *accumulate(self.lengths))

    def batched(self, tokens: Tensor) -> Tensor:
        """Tokens [total, ...] of segments of one length as [segments, length, ...]."""
        return tokens.unflatten(0, (len(self.lengths), -1))

    def boundaries(self) -> Tensor:
        """`starts` as int32 [segments + 1] on the device."""
        return self.cached("boundaries", lambda: sent(torch.tensor(self.starts, dtype=torch.int32), self.device))

    def sizes(self) -> Tensor:
        """`lengths` as float32 [segments] on the device."""
        return self.cached("sizes", lambda: sent(torch.tensor(self.lengths, dtype=torch.float32), self.device))

    def index(self) -> Tensor:
        """Segment of each token, int64 [total]."""

        def compute() -> Tensor:
            ids = torch.arange(len(self.lengths), device=self.device)
            return torch.repeat_interleave(ids, self.sizes().long(), output_size=self.total)

        return self.cached("index", compute)

    def membership(self, dtype: torch.dtype) -> Tensor:
        """One-hot matrix [segments, total]: its product with tokens sums each segment, in a fixed order."""

        def compute() -> Tensor:
            ids = torch.arange(len(self.lengths), device=self.device)
            return (ids[:, None] == self.index()[None]).to(dtype)

        return self.cached(("membership", dtype), compute)

    def runs(self) -> tuple[tuple[int, int], ...]:
        """(length, how many) of consecutive equal segments."""
        return self.cached("runs", lambda: tuple((n, len(list(group))) for n, group in groupby(self.lengths)))


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


@eager
def expand_segments(table: Tensor, segments: Segments) -> Tensor:
    """Per-segment rows [segments, C] -> per-token rows [total, C]."""
    if len(segments) == 1:
        return table.expand(segments.total, -1)
    return _Expand.apply(table, segments)


@eager
def sum_segments(tokens: Tensor, segments: Segments) -> Tensor:
    """Sum of tokens [total, C] over each segment -> [segments, C]."""
    return _Sum.apply(tokens, segments)


def broadcast_segments(table: Tensor, tokens: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Per-segment rows [segments, C] and tokens [total, D], shaped so that they broadcast against each other.

    Segments of one length give [segments, 1, C] and [segments, length, D]; `Tensor.reshape` undoes it.
    """
    if segments.is_uniform:
        return table[:, None], segments.batched(tokens)
    return expand_segments(table, segments), tokens
