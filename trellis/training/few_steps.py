"""The few steps that an assembled model samples its flows with, and training at the times that they visit."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from trellis.models import SamplerConfig
from trellis.sampling.schedule import timesteps
from trellis.training.losses import logit_normal

# Guidance and steps: more of either brings nothing nearer to the truth (docs/journal/nano.md).
STRUCTURES = SamplerConfig(steps=2, cfg_strength=1.0, cfg_interval=(0.0, 1.0), rescale_t=1.5)
LATENTS = SamplerConfig(steps=2, cfg_strength=0.0, cfg_interval=(0.0, 1.0), rescale_t=3.0)


def visited(sampler: SamplerConfig) -> list[float]:
    """The times in (0, 1] at which a sampling evaluates its flow."""
    return timesteps(sampler.steps, sampler.rescale_t)[:-1]


def draw_times(count: int, few: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Times [count] in (0, 1]: one of `few` with probability `share`, else logit-normal; all on one device."""
    device = generator.device
    spread = logit_normal(count, generator, device)
    if not share:
        return spread
    chosen = few[torch.randint(len(few), (count,), generator=generator, device=device)]
    return torch.where(torch.rand(count, generator=generator, device=device) < share, chosen, spread)


@torch.no_grad()
def visited_states(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, times: Tensor, steps: Tensor) -> Tensor:
    """States like `noise` that Euler steps along `times` [S] reach from it, each after its own number of `steps`.

    velocity: of a state at a time []; steps: 0 to S - 1, broadcast against `noise`.
    """
    x, states = noise, noise
    for step, (before, after) in enumerate(pairwise(times), 1):
        x = x - (before - after) * velocity(x, before)
        states = torch.where(steps >= step, x, states)
    return states
