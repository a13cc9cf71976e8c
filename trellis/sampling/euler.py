"""Euler integration of a velocity field from noise to data."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Start:
    """A sampling that starts on the way: at `strength` (1: noise alone; towards 0: next to nothing changes) of the way
    from `values`, of the shape of the sampled state, to noise."""

    values: Tensor
    strength: float

    def first_step(self, steps: int, rescale_t: float) -> int:
        """The first step of the schedule at a time of at most `strength`; the last one where there is none."""
        times = timesteps(steps, rescale_t)[:-1]
        return next((index for index, t in enumerate(times) if t <= self.strength), steps - 1)

    def state(self, noise: Tensor, *, steps: int, rescale_t: float, sigma: float) -> Tensor:
        """The state at the time of the first step."""
        t = timesteps(steps, rescale_t)[self.first_step(steps, rescale_t)]
        return (1 - t) * self.values.to(noise) + (sigma + (1 - sigma) * t) * noise


@torch.no_grad()
def euler_sample(
    velocity: Velocity,
    noise: Tensor,
    *,
    steps: int,
    rescale_t: float = 1.0,
    progress: Progress | None = None,
    stage: Stage = Stage.LATENT,
    start: Start | None = None,
    sigma: float = 0.0,
) -> Tensor:
    """Integrate `x += (t_next - t) v(x, 1000 t)` from t = 1 to 0; the result has the shape and device of `noise`.

    velocity: see `trellis.sampling.guidance.Velocity`; start: where on the way it begins, with `sigma` as the smallest
    noise. Reports every step as `stage`; raises `Cancelled` within one step of a wish to stop.
    Source: docs/developer/model-facts.md, section 9.
    """
    times = timesteps(steps, rescale_t)
    progress = progress or Progress()
    x, first = noise, 0
    if start is not None:
        x = start.state(noise, steps=steps, rescale_t=rescale_t, sigma=sigma)
        first = start.first_step(steps, rescale_t)
    for index in progress.steps(stage, steps - first):
        t, t_next = times[first + index], times[first + index + 1]
        x = x + (t_next - t) * velocity(x, TIME_SCALE * t).to(x.dtype)
    return x
