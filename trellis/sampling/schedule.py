"""Time grids of rectified-flow sampling: t runs from 1 (noise) to 0 (data)."""

from trellis.errors import InvalidInputError

TIME_SCALE = 1000.0  # networks read t on 0..1000


def timesteps(steps: int, rescale: float) -> list[float]:
    """`steps + 1` times from 1 to 0, `t' = r t / (1 + (r - 1) t)` (docs/developer/model-facts.md, section 9).

    rescale > 1 spends more of the steps near the noise; 1 is an even grid. Raises `InvalidInputError` unless
    steps >= 1 and rescale > 0.
    """
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, not {steps}.")
    if not rescale > 0:
        raise InvalidInputError(f"rescale_t must be greater than 0, not {rescale}.")
    # (steps - i) / steps keeps simple fractions exact: they meet the ends of guidance intervals.
    even = [(steps - i) / steps for i in range(steps + 1)]
    return [rescale * t / (1 + (rescale - 1) * t) for t in even]
