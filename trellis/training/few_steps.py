"""The few steps that an assembled model samples its flows with, and the times at which they evaluate these."""

import torch
from torch import Tensor

from trellis.models import SamplerConfig
from trellis.sampling import GUESSED, first_step
from trellis.sampling.schedule import timesteps
from trellis.training.losses import logit_normal

# Guidance, steps and guesses: more of any brings nothing nearer to the truth (docs/journal/nano.md).
STRUCTURES = SamplerConfig(steps=4, cfg_strength=1.0, cfg_interval=(0.0, 1.0), rescale_t=3.0, guesses=4)
LATENTS = SamplerConfig(steps=2, cfg_strength=0.0, cfg_interval=(0.0, 1.0), rescale_t=3.0, guesses=2)


def visited(sampler: SamplerConfig) -> list[float]:
    """The times in (0, 1] at which a sampling evaluates its flow, each once."""
    times = timesteps(sampler.steps, sampler.rescale_t)[:-1]
    if sampler.noises == 1:
        return times
    return [1.0, *times[first_step(GUESSED, sampler.steps, sampler.rescale_t) :]]


def draw_times(count: int, few: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Times [count] in (0, 1]: one of `few` with probability `share`, else logit-normal; all on one device."""
    device = generator.device
    spread = logit_normal(count, generator, device)
    if not share:
        return spread
    chosen = few[torch.randint(len(few), (count,), generator=generator, device=device)]
    return torch.where(torch.rand(count, generator=generator, device=device) < share, chosen, spread)
