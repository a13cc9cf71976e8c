"""Guidance: functions that make one velocity function out of others."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.sampling.schedule import TIME_SCALE, timesteps

# v(x, t1000): the velocity at state x and time t1000 in 0..1000, of the shape of x. Dense grids and packed voxel
# features alike: the function knows its layout and its condition.
Velocity = Callable[[Tensor, float], Tensor]
# Velocities under the condition and under the null condition, evaluated together.
VelocityPair = Callable[[Tensor, float], tuple[Tensor, Tensor]]

MULTI_IMAGE_MODES = ("stochastic", "multidiffusion")


class Speed(NamedTuple):
    """At every so many steps the velocity (see `extrapolate`) and the guidance (see `guide`) are evaluated."""

    velocity_every: int
    guidance_every: int


SPEEDS = {"exact": Speed(1, 1), "fast": Speed(2, 1), "fastest": Speed(2, 2)}


def guide(
    conditional: Velocity,
    unconditional: Velocity,
    *,
    strength: float,
    interval: tuple[float, float] = (0.0, 1.0),
    learned: float = 0.0,
    both: VelocityPair | None = None,
    every: int = 1,
) -> Velocity:
    """Classifier-free guidance `(1 + w) v(cond) - w v(null)` for lo <= t <= hi (0..1, inclusive), else `v(cond)`.

    learned: the strength that `conditional` has by itself, at all t, because it was trained so (see
    `trellis.training.losses.guided_target`); only the rest of `strength` is added, between the ends of `interval`.
    The null velocity is not evaluated where it does not count; `both`, if given, is used where both count.
    every > 1 is an approximation: only every so many guided calls evaluate the null velocity, those between take the
    last difference of the two. The function then remembers: make a new one for each sampling.
    Raises `InvalidInputError` unless 0 <= lo <= hi <= 1, strength >= 0, learned >= 0 and every >= 1.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise InvalidInputError(f"cfg_interval must satisfy 0 <= low <= high <= 1, not {interval}.")
    if not strength >= 0:
        raise InvalidInputError(f"cfg_strength must be at least 0, not {strength}.")
    if not learned >= 0:
        raise InvalidInputError(f"learned_strength must be at least 0, not {learned}.")
    if every < 1:
        raise InvalidInputError(f"Guidance must be evaluated every 1 or more steps, not {every}.")
    strength = (1 + strength) / (1 + learned) - 1
    if strength == 0:
        return conditional
    calls = 0
    difference: Tensor | None = None

    def guided(x: Tensor, t1000: float) -> Tensor:
        nonlocal calls, difference
        if not low * TIME_SCALE <= t1000 <= high * TIME_SCALE:
            return conditional(x, t1000)
        calls += 1
        if difference is not None and (calls - 1) % every:
            return conditional(x, t1000) + strength * difference
        velocity, null = both(x, t1000) if both else (conditional(x, t1000), unconditional(x, t1000))
        if every > 1:
            difference = velocity - null
        return (1 + strength) * velocity - strength * null

    return guided


def extrapolate(velocity: Velocity, *, steps: int, rescale_t: float, every: int, keep: int = 4) -> Velocity:
    """An approximation that evaluates every so many steps and continues the line through the last two velocities.

    The first `keep` and the last steps of the schedule are always evaluated: there the velocity turns most. The
    function remembers: make a new one for each sampling. Raises `InvalidInputError` unless every >= 1.
    """
    if every < 1:
        raise InvalidInputError(f"The velocity must be evaluated every 1 or more steps, not {every}.")
    if every == 1:
        return velocity
    times = [TIME_SCALE * t for t in timesteps(steps, rescale_t)[:-1]]
    known: list[tuple[float, Tensor]] = []  # (time, velocity) of the last two evaluations

    def extrapolated(x: Tensor, t1000: float) -> Tensor:
        step = min(range(steps), key=lambda i: abs(times[i] - t1000))
        if step < keep or step == steps - 1 or (step - keep) % every == every - 1 or len(known) < 2:
            known.append((t1000, velocity(x, t1000)))
            del known[:-2]
            return known[-1][1]
        (earlier, first), (later, second) = known
        return second + (second - first) * ((t1000 - later) / (later - earlier))

    return extrapolated


def alternate_images(velocities: Sequence[Velocity], *, steps: int, rescale_t: float) -> Velocity:
    """Step i of the schedule uses image i mod n ("stochastic"); the choice depends on the time alone, no state."""
    _require_images(velocities)
    times = [TIME_SCALE * t for t in timesteps(steps, rescale_t)[:-1]]

    def alternating(x: Tensor, t1000: float) -> Tensor:
        step = min(range(steps), key=lambda i: abs(times[i] - t1000))
        return velocities[step % len(velocities)](x, t1000)

    return alternating


def average_images(velocities: Sequence[Velocity]) -> Velocity:
    """Mean of the velocities of all images ("multidiffusion"); guide the mean, so that null is evaluated once."""
    _require_images(velocities)

    def averaged(x: Tensor, t1000: float) -> Tensor:
        total = torch.zeros_like(x)
        for velocity in velocities:
            total = total + velocity(x, t1000)
        return total / len(velocities)

    return averaged


def combine_images(velocities: Sequence[Velocity], mode: str, *, steps: int, rescale_t: float) -> Velocity:
    """The conditional velocity of several images by `mode`, one of `MULTI_IMAGE_MODES`; one image is used as it is."""
    if mode not in MULTI_IMAGE_MODES:
        raise InvalidInputError(f"Unknown multi-image mode {mode!r}; known: {', '.join(MULTI_IMAGE_MODES)}.")
    _require_images(velocities)
    if len(velocities) == 1:
        return velocities[0]
    if mode == "stochastic":
        return alternate_images(velocities, steps=steps, rescale_t=rescale_t)
    return average_images(velocities)


def _require_images(velocities: Sequence[Velocity]) -> None:
    if len(velocities) == 0:
        raise InvalidInputError("Give at least one image.")
