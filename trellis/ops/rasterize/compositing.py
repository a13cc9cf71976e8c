"""Front-to-back blending of fragment lists, exact per pixel, in plain torch."""

import torch
from torch import Tensor


def blend(
    pixels: Tensor, alphas: Tensor, colors: Tensor, *, count: int, minimum: float, stop_before: bool
) -> tuple[Tensor, Tensor]:
    """Blend fragments sorted by (pixel, depth): colour [count, k] over black and transmittance [count].

    pixels [m] int64 in 0..count-1; alphas [m] < 1; colors [m, k]. A pixel is finished when its transmittance would fall
    under `minimum` (stop_before=True: that fragment is left out) or has fallen under it (False: it is kept).
    Logarithms are summed in float64: one running sum over millions of fragments then still is exact per pixel.
    Differentiable in alphas and colors.
    """
    lengths = torch.bincount(pixels, minlength=count)
    logs = torch.log1p(-alphas).double()
    after = logs.cumsum(0)
    before = after - logs
    begins = (lengths.cumsum(0) - lengths).clamp(max=max(len(pixels) - 1, 0))
    base = before[begins][pixels] if len(pixels) else before
    transmittance = (before - base).exp()
    alive = ((after - base).exp() if stop_before else transmittance) >= minimum
    weights = torch.where(alive, alphas * transmittance.float(), 0.0)
    terms = torch.cat([colors * weights[:, None], weights[:, None]], dim=1)
    # Sums over consecutive runs, not scattered additions: the result does not depend on the order of threads.
    sums = torch.segment_reduce(terms, "sum", lengths=lengths, axis=0, unsafe=True)
    return sums[:, :-1], 1 - sums[:, -1]


def row_bands(fragments_per_row: list[int], budget: int) -> list[tuple[int, int, int]]:
    """Cut rows into bands (first row, end row, fragments) of at most `budget` fragments, or one row."""
    bands: list[tuple[int, int, int]] = []
    first, held = 0, 0
    for row, fragments in enumerate(fragments_per_row):
        if held and held + fragments > budget:
            bands.append((first, row, held))
            first, held = row, 0
        held += fragments
    bands.append((first, len(fragments_per_row), held))
    return bands


def fragments_per_row(boxes: Tensor, height: int) -> list[int]:
    """Number of pixels that half-open boxes [n, 4] (x0, y0, x1, y1) cover in each of `height` rows."""
    widths = boxes[:, 2] - boxes[:, 0]
    change = torch.zeros(height + 1, dtype=torch.int64, device=boxes.device)
    change.index_add_(0, boxes[:, 1], widths).index_add_(0, boxes[:, 3], -widths)
    return change.cumsum(0)[:-1].tolist()


def band_fragments(boxes: Tensor, band: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """(owner, x, y) int64 [m] of the pixels of `boxes` within a band, in the order of the boxes."""
    first, end, total = band
    top = boxes[:, 1].clamp(min=first)
    widths = boxes[:, 2] - boxes[:, 0]
    counts = widths * (boxes[:, 3].clamp(max=end) - top).clamp(min=0)
    ids = torch.arange(len(boxes), device=boxes.device)
    owner = torch.repeat_interleave(ids, counts, output_size=total)
    offset = torch.arange(total, device=boxes.device) - (counts.cumsum(0) - counts)[owner]
    width = widths[owner]
    row = torch.div(offset, width, rounding_mode="floor")
    return owner, boxes[:, 0][owner] + offset - row * width, top[owner] + row
