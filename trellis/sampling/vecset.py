"""Sampling of a shape model's latent: times rise from 0 (noise) to 1."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.stages import Stage

TRAINED_TIMES = 1000


def shape_times(steps: int, pcm_timesteps: int | None = None) -> list[float]:
    """The times at which the velocity is evaluated, and the last one, 1.

    Even times for a flow; those of a consistency model lie on its grid of `pcm_timesteps`. An even schedule of several
    steps has one evaluation less: the last would be a step of length 0 (source: docs/developer/hunyuan-facts.md,
    section 6). Raises InvalidInputError unless steps >= 1.
    """
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, not {steps}.")
    if pcm_timesteps is None:
        return [0.0, 1.0] if steps == 1 else [index / (steps - 1) for index in range(steps)]
    stride = TRAINED_TIMES // pcm_timesteps
    grid = [0.0, *((k * stride - 1) / (TRAINED_TIMES - 1) for k in range(1, pcm_timesteps))]
    places = np.linspace(0, pcm_timesteps, steps, endpoint=False).astype(int)
    return [*(grid[place] for place in places), 1.0]


@torch.no_grad()
def sample_shape(
    velocity: Callable[[Tensor, float], Tensor], noise: Tensor, *, times: list[float], progress: Progress
) -> Tensor:
    """Integrate `x += (t' - t) v(x, t)` along `times`; raises Cancelled within one step of a wish to stop."""
    x = noise
    for index in progress.steps(Stage.STRUCTURE, len(times) - 1):
        x = x + (times[index + 1] - times[index]) * velocity(x, times[index])
    return x


def shape_velocity(
    flow: Callable[..., Tensor], tokens: Tensor, *, guidance: float, distilled: bool, together: bool
) -> Callable[[Tensor, float], Tensor]:
    """v(x, t) of a latent [1, L, c] under tokens [1, T, C] and guidance: `null + guidance (v - null)`.

    distilled: the flow has the guidance as an input. Else it is evaluated under zeros too, at once where `together`.
    """
    null = torch.zeros_like(tokens)

    def guided(x: Tensor, time: float) -> Tensor:
        if distilled:
            return flow(x, time, tokens, guidance=guidance)
        if together:
            with_tokens, without = flow(x.repeat(2, 1, 1), time, torch.cat([tokens, null])).split(1)
        else:
            with_tokens, without = flow(x, time, tokens), flow(x, time, null)
        return without + guidance * (with_tokens - without)

    return guided
