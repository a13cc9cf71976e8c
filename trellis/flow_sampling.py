"""One flow sampled: its session, guidance, Euler steps, and the part that is known."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from trellis.conditions import Condition
from trellis.errors import InvalidInputError
from trellis.memory import Effort
from trellis.models import FlowSession, SamplerConfig
from trellis.models.latent_flow import LatentFlow
from trellis.models.structure_flow import StructureFlow
from trellis.progress import Progress
from trellis.sampling import (
    SPEEDS,
    TIME_SCALE,
    Known,
    combine_images,
    euler_sample,
    extrapolate,
    guide,
    repaint_sample,
    timesteps,
)
from trellis.sparse import VoxelLayout
from trellis.stages import Stage


def override(sampler: SamplerConfig, stage: str, steps: int | None, guidance: float | None) -> SamplerConfig:
    """The model's sampler with the steps and guidance strength of a request, where it states them.

    Raises InvalidInputError naming the stage's value that is out of range.
    """
    if steps is not None and steps < 1:
        raise InvalidInputError(f"{stage}_steps must be at least 1, not {steps}.")
    if guidance is not None and not 0 <= guidance < math.inf:
        raise InvalidInputError(f"{stage}_guidance must be at least 0, not {guidance}.")
    return replace(
        sampler,
        steps=sampler.steps if steps is None else steps,
        cfg_strength=sampler.cfg_strength if guidance is None else guidance,
    )


def open_session(
    flow: StructureFlow | LatentFlow,
    condition: Condition,
    sampler: SamplerConfig,
    effort: Effort,
    *,
    layout: VoxelLayout | None = None,
) -> FlowSession:
    """A session at the times of the sampler."""
    tokens = [part.to(effort.device) for part in condition.tokens]
    times = [TIME_SCALE * t for t in timesteps(sampler.steps, sampler.rescale_t)[:-1]]
    null = condition.null.to(effort.device)
    return FlowSession(flow, tokens, null=null, times=times, layout=layout, graphs=effort.graphs)


def sample_flow(
    session: FlowSession,
    noise: Tensor,
    sampler: SamplerConfig,
    multi_image: str,
    stage: Stage,
    progress: Progress,
    *,
    together: bool = True,
    speed: str = "exact",
    known: Known | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integrate a flow under guidance, from `noise`, for the conditions of the session.

    together: a single condition and the null condition are evaluated at once, which is faster and needs more memory.
    known: the part that is known, and `generator` what its resampling draws from, with which speed does
    not count.
    Raises InvalidInputError for a speed that is not one of `trellis.sampling.SPEEDS`.
    """
    if speed not in SPEEDS:
        raise InvalidInputError(f"Unknown speed {speed!r}; choose one of {', '.join(SPEEDS)}.")
    velocity_every, guidance_every = SPEEDS["exact" if known is not None and known.resample > 1 else speed]
    conditional = combine_images(
        [session.velocity(index) for index in range(len(session))],
        multi_image,
        steps=sampler.steps,
        rescale_t=sampler.rescale_t,
    )
    velocity = guide(
        conditional,
        session.null_velocity(),
        strength=sampler.cfg_strength,
        interval=sampler.cfg_interval,
        both=session.pair(0) if together and len(session) == 1 else None,
        every=guidance_every,
    )
    velocity = extrapolate(velocity, steps=sampler.steps, rescale_t=sampler.rescale_t, every=velocity_every)
    if known is not None:
        assert generator is not None
        return repaint_sample(
            velocity,
            noise,
            known=known.to(noise.device),
            steps=sampler.steps,
            rescale_t=sampler.rescale_t,
            sigma=sampler.sigma_min,
            generator=generator,
            progress=progress,
            stage=stage,
        )
    return euler_sample(
        velocity, noise, steps=sampler.steps, rescale_t=sampler.rescale_t, progress=progress, stage=stage
    )
