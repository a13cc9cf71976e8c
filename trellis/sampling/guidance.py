"""Guidance: functions that make one velocity function out of others."""

from collections.abc import Callable, Sequence

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


def guide(
    conditional: Velocity,
    unconditional: Velocity,
    *,
    strength: float,
    interval: tuple[float, float] = (0.0, 1.0),
    both: VelocityPair | None = None,
) -> Velocity:
    """Classifier-free guidance `(1 + w) v(cond) - w v(null)` for lo <= t <= hi (0..1, inclusive), else `v(cond)`.

    The null velocity is not evaluated where it does not count; `both`, if given, is used where both count.
    Raises `InvalidInputError` unless 0 <= lo <= hi <= 1 and strength >= 0.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise InvalidInputError(f"cfg_interval must satisfy 0 <= low <= high <= 1, not {interval}.")
    if not strength >= 0:
        raise InvalidInputError(f"cfg_strength must be at least 0, not {strength}.")
    if strength == 0:
        return conditional

    def guided(x: Tensor, t1000: float) -> Tensor:
        if not low * TIME_SCALE <= t1000 <= high * TIME_SCALE:
            return conditional(x, t1000)
        velocity, null = both(x, t1000) if both else (conditional(x, t1000), unconditional(x, t1000))
        return (1 + strength) * velocity - strength * null

    return guided


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
