"""Sampling of a part: what is known follows its own path from noise to data, the rest follows the flow (RePaint)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trellis.progress import Progress
from trellis.sampling.euler import initial_noise
from trellis.sampling.guidance import Velocity
from trellis.sampling.schedule import TIME_SCALE, timesteps
from trellis.stages import Stage


@dataclass(frozen=True)
class Known:
    """`values` of the shape of the sampled state where `mask` (bool, broadcast to it) holds; elsewhere anything.

    resample: how often each step is done, with new noise between (RePaint's resampling; 1: once). until: the steps that
    are done, where the end that the last of them points at is enough (None: all).
    """

    values: Tensor
    mask: Tensor
    resample: int = 1
    until: int | None = None

    def to(self, device: torch.device) -> "Known":
        """The same on another device."""
        return replace(self, values=self.values.to(device), mask=self.mask.to(device))

    def put_into(self, x: Tensor, noise: Tensor, *, t: float, sigma: float) -> Tensor:
        """`x` with the known values as they are at time t of the way from the starting `noise`."""
        return torch.where(self.mask, (1 - t) * self.values + (sigma + (1 - sigma) * t) * noise, x)


@torch.no_grad()
def repaint_sample(
    velocity: Velocity,
    noise: Tensor,
    *,
    known: Known,
    steps: int,
    rescale_t: float,
    sigma: float,
    generator: torch.Generator,
    progress: Progress | None = None,
    stage: Stage = Stage.LATENT,
) -> Tensor:
    """`euler_sample` from `noise` with the known part put in before each step; in the end that is `known.values`, bytes
    and all.

    The known part goes the straight way from its share of the starting noise, as the flow would lead it. Between two
    turns of a step from t to t' the state goes back by `a x + sqrt(t^2 - a^2 t'^2) eps`, a = (1 - t) / (1 - t'), eps
    drawn from `generator`. Raises `Cancelled` within one evaluation of a wish to stop.
    Source: Lugmayr et al., "RePaint" (2022), for straight paths.
    """
    times = timesteps(steps, rescale_t)
    progress = progress or Progress()
    x = noise
    for index in progress.steps(stage, known.until or steps):
        t, t_next = times[index], times[index + 1]
        for turn in range(known.resample):
            progress.cancel.raise_if_cancelled()
            if turn:
                kept = (1 - t) / (1 - t_next)
                fresh = initial_noise(x.shape, generator).to(x)
                x = kept * x + (t * t - (kept * t_next) ** 2) ** 0.5 * fresh
            x = known.put_into(x, noise, t=t, sigma=sigma)
            speed = velocity(x, TIME_SCALE * t).to(x.dtype)
            x = x + (t_next - t) * speed
    return torch.where(known.mask, known.values.to(x.dtype), x - t_next * speed)
