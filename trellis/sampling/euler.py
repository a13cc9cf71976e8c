"""Euler integration of a velocity field from noise to data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.sampling.guidance import Velocity
from trellis.sampling.schedule import TIME_SCALE, timesteps
from trellis.stages import Stage


def initial_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal float32 noise of `shape`, drawn on the CPU so that one seed gives one asset on any device.

    Draw the structure noise [B, 8, 16, 16, 16] first, then the latent noise [N, 8]. Raises `InvalidInputError` for a
    generator of another device.
    """
    if generator.device.type != "cpu":
        raise InvalidInputError("Noise is drawn from a CPU generator; move the noise to the device afterwards.")
    return torch.randn(*shape, generator=generator, dtype=torch.float32)


@torch.no_grad()
def euler_sample(
    velocity: Velocity,
    noise: Tensor,
    *,
    steps: int,
    rescale_t: float = 1.0,
    progress: Progress | None = None,
    stage: Stage = Stage.LATENT,
) -> Tensor:
    """Integrate `x += (t_next - t) v(x, 1000 t)` from t = 1 to 0; the result has the shape and device of `noise`.

    velocity: see `trellis.sampling.guidance.Velocity`. Reports every step as `stage`; raises `Cancelled` within one
    step of a wish to stop. Source: docs/developer/model-facts.md, section 9.
    """
    times = timesteps(steps, rescale_t)
    progress = progress or Progress()
    x = noise
    for index in progress.steps(stage, steps):
        t, t_next = times[index], times[index + 1]
        x = x + (t_next - t) * velocity(x, TIME_SCALE * t).to(x.dtype)
    return x
