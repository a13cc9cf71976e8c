"""Which voxels attend to each other: whole samples, cubic windows, or windows along a space-filling curve."""

from bisect import bisect
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.segments import Segments
from trellis.ops.serialize import serialize
from trellis.sparse.layout import VoxelLayout

ATTENTION_MODES = ("full", "swin", "shift_window", "shift_sequence", "shift_order")
CURVE_SHIFT = 16  # voxels by which every second block of `shift_window` moves its curve
CURVE_ORDER = ("z_order", "z_order_transposed", "hilbert", "hilbert_transposed")


@dataclass(frozen=True, eq=False)
class TokenWindows:
    """Attention inside `segments` of the tokens `gather`, whose results `select` puts back in voxel order.

    gather int64 [M] (None: the tokens as they are); select int64 [N]: place of each token in the gathered list.
    is_permutation: every token is gathered once.
    """

    segments: Segments
    gather: Tensor | None = None
    select: Tensor | None = None

    @property
    def is_permutation(self) -> bool:
        return self.gather is None or self.select is None or len(self.gather) == len(self.select)


def attention_windows(layout: VoxelLayout, mode: str, *, window_size: int | None, block: int) -> TokenWindows:
    """The windows of transformer block number `block`; computed once per layout and variant.

    mode: one of ATTENTION_MODES; window_size: voxels along a window's side ("swin") or in a window (curves).
    Raises InvalidInputError for an unknown mode or a missing window size.
    """
    if mode not in ATTENTION_MODES:
        raise InvalidInputError(f"Unknown attention mode {mode!r}; choose one of {', '.join(ATTENTION_MODES)}.")
    if mode == "full":
        return layout.cached("full", lambda: TokenWindows(layout.segments))
    if window_size is None or window_size < 1:
        raise InvalidInputError(f"Attention mode {mode!r} needs a window size of at least 1.")
    odd = block % 2
    if mode == "swin":
        shift = window_size // 2 * odd
        return layout.cached(("swin", window_size, shift), lambda: _cubic(layout, window_size, shift))
    if mode == "shift_window":
        variant = ("z_order", CURVE_SHIFT * odd, 0)
    elif mode == "shift_sequence":
        variant = ("z_order", 0, window_size // 2 * odd)
    else:
        variant = (CURVE_ORDER[block % len(CURVE_ORDER)], 0, 0)
    return layout.cached((window_size, variant), lambda: _along_curve(layout, window_size, *variant))


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.shape[0], device=order.device)
    return inverse


def _cubic(layout: VoxelLayout, window: int, shift: int) -> TokenWindows:
    """Windows `floor((coord + shift) / window)`, sorted by size so that equal ones run in one batch."""
    side = (layout.resolution - 1 + shift) // window + 1
    b, x, y, z = layout.coords.long().unbind(1)
    x, y, z = (x + shift) // window, (y + shift) // window, (z + shift) // window
    key = ((b * side + x) * side + y) * side + z
    counts = key.new_zeros(len(layout.lengths) * side**3).scatter_add_(0, key, torch.ones_like(key))
    order = torch.argsort(counts[key] * counts.shape[0] + key, stable=True)
    lengths = counts.sort().values.tolist()
    return TokenWindows(Segments(tuple(lengths[bisect(lengths, 0) :]), layout.device), order, _inverse(order))


def _along_curve(layout: VoxelLayout, window: int, curve: str, coord_shift: int, sequence_shift: int) -> TokenWindows:
    """Windows of `window` voxels along a curve; a window reaches beyond the tokens whose result it keeps."""
    codes = serialize(layout.coords[:, 1:] + coord_shift, curve)
    gathers, lengths, at = [], [], 0
    select = torch.empty(len(layout), dtype=torch.long, device=layout.device)
    packed = 0
    for n in layout.lengths:
        order = torch.argsort(codes[at : at + n], stable=True)
        if n <= window:
            gather, places = order, torch.arange(n, device=layout.device)
            lengths += [n] if n else []
        else:
            starts, count = (torch.tensor(v, device=layout.device) for v in _curve_plan(n, window, sequence_shift))
            gather = order[((starts[:, None] + torch.arange(window, device=layout.device)) % n).flatten()]
            lengths += [window] * len(starts)
            kept = torch.repeat_interleave(torch.arange(len(starts), device=layout.device), count, output_size=n)
            position = torch.arange(n, device=layout.device) + sequence_shift  # position along the curve, unwrapped
            places = kept * window + position - starts[kept]
            order = order[position % n]
        gathers.append(gather + at)
        select[order + at] = places + packed
        packed += gather.shape[0]
        at += n
    return TokenWindows(Segments(tuple(lengths), layout.device), torch.cat(gathers), select)


def _curve_plan(n: int, window: int, shift: int) -> tuple[list[int], list[int]]:
    """First padded entry and number of kept entries of each of the ceil(n / window) windows."""
    k = -(-n // window)
    first = [i * n // k for i in range(k + 1)]
    starts = [((2 * i + 1) * n - k * window) // (2 * k) + shift for i in range(k)]
    return starts, [b - a for a, b in pairwise(first)]
