"""Schedule, guidance, Euler integration and several images."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.sampling import (
    SPEEDS,
    Velocity,
    alternate_images,
    average_images,
    combine_images,
    euler_sample,
    extrapolate,
    guide,
    initial_noise,
    timesteps,
)
from trellis.stages import Stage


def constant(value: float, calls: list[float] | None = None) -> Velocity:
    def velocity(x: Tensor, t1000: float) -> Tensor:
        if calls is not None:
            calls.append(t1000)
        return torch.full_like(x, value)

    return velocity


def test_schedule_runs_from_one_to_zero() -> None:
    assert timesteps(4, 1.0) == [1.0, 0.75, 0.5, 0.25, 0.0]
    times = timesteps(12, 3.0)
    assert times[0] == 1.0
    assert times[-1] == 0.0
    assert all(a > b for a, b in itertools.pairwise(times))
    assert times[9] == 0.5  # t = 0.25, exactly at the end of the released guidance interval


@pytest.mark.parametrize(
    ("steps", "rescale", "named"), [(0, 1.0, "steps"), (5, 0.0, "rescale"), (5, math.nan, "rescale")]
)
def test_bad_schedules_are_named(steps: int, rescale: float, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        timesteps(steps, rescale)


def test_straight_paths_are_integrated_exactly() -> None:
    """v = noise - data along x_t = (1 - t) data + t noise leads back to the data, whatever the schedule."""
    data, noise = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    for steps, rescale in ((1, 1.0), (7, 3.0)):
        result = euler_sample(lambda x, t: noise - data, noise, steps=steps, rescale_t=rescale)
        assert torch.allclose(result, data, atol=1e-6)


def test_euler_converges_to_the_exponential() -> None:
    result = euler_sample(lambda x, t: x, torch.ones(1), steps=2000)
    assert result.item() == pytest.approx(math.exp(-1), rel=1e-3)


def test_noise_is_kept_and_no_gradient_recorded() -> None:
    noise = torch.ones(2)
    weight = torch.ones(2, requires_grad=True)
    result = euler_sample(lambda x, t: weight * x, noise, steps=3)
    assert torch.equal(noise, torch.ones(2))
    assert not result.requires_grad


def test_times_given_to_the_network_are_on_0_to_1000() -> None:
    calls: list[float] = []
    euler_sample(constant(0.0, calls), torch.zeros(1), steps=4)
    assert calls == [1000.0, 750.0, 500.0, 250.0]


def test_guidance_inside_its_interval_only() -> None:
    null_calls: list[float] = []
    guided = guide(constant(1.0), constant(0.25, null_calls), strength=3.0, interval=(0.5, 0.75))
    x = torch.zeros(2)
    values = {t: guided(x, t)[0].item() for t in (1000.0, 750.0, 600.0, 500.0, 499.9)}
    inside = 4 * 1.0 - 3 * 0.25
    assert values == {1000.0: 1.0, 750.0: inside, 600.0: inside, 500.0: inside, 499.9: 1.0}
    assert null_calls == [750.0, 600.0, 500.0]


def test_no_strength_means_no_null_velocity() -> None:
    calls: list[float] = []
    assert guide(constant(2.0), constant(1.0, calls), strength=0.0)(torch.zeros(1), 500.0).item() == 2.0
    assert calls == []


@pytest.mark.parametrize(("strength", "nulls"), [(0.0, 1), (1.0, 0), (4.0, 1)])
def test_what_a_flow_has_learned_of_guidance_is_not_added_again(strength: float, nulls: int) -> None:
    """A flow that gives guidance of 1 by itself, asked for less, as much and more: as the plain flow gives it."""
    calls: list[float] = []
    plain = guide(constant(2.0), constant(0.5), strength=strength)
    learned = guide(constant(2 * 2.0 - 0.5), constant(0.5, calls), strength=strength, learned=1.0)
    assert learned(torch.zeros(1), 500.0).item() == pytest.approx(plain(torch.zeros(1), 500.0).item())
    assert len(calls) == nulls


@pytest.mark.parametrize("interval", [(0.6, 0.5), (-0.1, 1.0), (0.0, 1.1), (math.nan, 1.0)])
def test_bad_intervals_are_named(interval: tuple[float, float]) -> None:
    with pytest.raises(InvalidInputError, match="cfg_interval"):
        guide(constant(1.0), constant(0.0), strength=1.0, interval=interval)


def test_negative_strength_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="cfg_strength"):
        guide(constant(1.0), constant(0.0), strength=-1.0)
    with pytest.raises(InvalidInputError, match="learned_strength"):
        guide(constant(1.0), constant(0.0), strength=1.0, learned=-1.0)


def test_stochastic_alternates_images_by_step() -> None:
    calls: list[list[float]] = [[], [], []]
    velocities = [constant(float(i), calls[i]) for i in range(3)]
    steps, rescale = 7, 3.0
    combined = alternate_images(velocities, steps=steps, rescale_t=rescale)
    euler_sample(combined, torch.zeros(1), steps=steps, rescale_t=rescale)
    times = [1000 * t for t in timesteps(steps, rescale)[:-1]]
    assert calls == [times[0::3], times[1::3], times[2::3]]


def test_multidiffusion_averages_and_takes_null_once() -> None:
    null_calls: list[float] = []
    mean = average_images([constant(1.0), constant(3.0)])
    guided = guide(mean, constant(1.0, null_calls), strength=2.0)
    assert guided(torch.zeros(1), 800.0).item() == 3 * 2.0 - 2 * 1.0
    assert null_calls == [800.0]


def test_image_modes_are_a_closed_set() -> None:
    one, two = constant(1.0), constant(2.0)
    assert combine_images([one], "stochastic", steps=4, rescale_t=1.0) is one
    assert combine_images([one, two], "multidiffusion", steps=4, rescale_t=1.0)(torch.zeros(1), 0.0).item() == 1.5
    assert combine_images([one, two], "stochastic", steps=4, rescale_t=1.0)(torch.zeros(1), 750.0).item() == 2.0
    with pytest.raises(InvalidInputError, match="stochastic, multidiffusion"):
        combine_images([one], "median", steps=4, rescale_t=1.0)
    with pytest.raises(InvalidInputError, match="at least one"):
        combine_images([], "stochastic", steps=4, rescale_t=1.0)


def test_noise_is_the_seeds_alone() -> None:
    first = initial_noise([2, 3], torch.Generator().manual_seed(5))
    second = initial_noise([2, 3], torch.Generator().manual_seed(5))
    other = initial_noise([2, 3], torch.Generator().manual_seed(6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.dtype == torch.float32
    with pytest.raises(InvalidInputError, match="CPU"):
        initial_noise([1], _OtherDevice())  # type: ignore[arg-type]


class _OtherDevice:
    """A generator of an accelerator, which this machine may lack."""

    device = torch.device("meta")


def test_every_step_is_reported_and_cancellation_stops_within_one() -> None:
    heard: list[StepInfo] = []
    euler_sample(constant(0.0), torch.zeros(1), steps=3, progress=Progress(heard.append), stage=Stage.STRUCTURE)
    assert heard == [StepInfo(Stage.STRUCTURE, i, 3) for i in (1, 2, 3)]

    token, calls = CancelToken(), []

    def velocity(x: Tensor, t1000: float) -> Tensor:
        calls.append(t1000)
        if len(calls) == 2:
            token.cancel()
        return x

    with pytest.raises(Cancelled):
        euler_sample(velocity, torch.zeros(1), steps=10, progress=Progress(cancel=token))
    assert len(calls) == 2


def counted(function):
    def velocity(x, t):
        velocity.calls += 1
        return function(x, t)

    velocity.calls = 0
    return velocity


def test_guidance_every_few_steps_reuses_the_difference():
    conditional, null = counted(lambda x, t: x + t), counted(lambda x, t: x - t)
    x = torch.ones(3)
    exact = guide(lambda x, t: x + t, lambda x, t: x - t, strength=2.0, interval=(0.2, 1.0))
    sparse = guide(conditional, null, strength=2.0, interval=(0.2, 1.0), every=2)
    times = [1000.0, 800.0, 600.0, 400.0, 100.0]
    values = [sparse(x, t) for t in times]
    assert (conditional.calls, null.calls) == (5, 2)
    for index in (0, 2, 4):  # evaluated, evaluated, outside the interval
        torch.testing.assert_close(values[index], exact(x, times[index]))
    torch.testing.assert_close(values[1], x + 800 + 2.0 * 2 * 1000)
    with pytest.raises(InvalidInputError, match="every 1 or more"):
        guide(conditional, null, strength=1.0, every=0)


def test_both_is_asked_where_both_count():
    def alone(x, t):
        raise AssertionError("evaluated alone")

    guided = guide(lambda x, t: x, alone, strength=1.0, interval=(0.5, 1.0), both=lambda x, t: (x, 2 * x))
    assert guided(torch.tensor(3.0), 600.0) == 0
    assert guided(torch.tensor(3.0), 400.0) == 3


def test_extrapolation_is_exact_for_a_line_and_saves_evaluations():
    linear = counted(lambda x, t: torch.full_like(x, 3 - t / 500))
    noise = torch.ones(4)
    expected = euler_sample(linear, noise, steps=25, rescale_t=3.0)
    linear.calls = 0
    skipping = extrapolate(linear, steps=25, rescale_t=3.0, every=2)
    torch.testing.assert_close(euler_sample(skipping, noise, steps=25, rescale_t=3.0), expected)
    assert 13 <= linear.calls <= 16
    assert extrapolate(linear, steps=25, rescale_t=3.0, every=1) is linear
    with pytest.raises(InvalidInputError, match="every 1 or more"):
        extrapolate(linear, steps=25, rescale_t=3.0, every=0)


def test_extrapolation_beats_holding_the_velocity():
    def curved(x, t):
        return torch.full_like(x, (t / 1000) ** 2)

    noise = torch.zeros(1)
    exact = euler_sample(curved, noise, steps=24)
    skipping = euler_sample(extrapolate(curved, steps=24, rescale_t=1.0, every=2), noise, steps=24)
    half = euler_sample(curved, noise, steps=12)
    assert (skipping - exact).abs() < 0.2 * (half - exact).abs()


def test_speeds_leave_out_more_and_more() -> None:
    def evaluations(speed: str) -> tuple[int, int]:
        velocity_every, guidance_every = SPEEDS[speed]
        conditional, null = counted(lambda x, t: x), counted(lambda x, t: 0 * x)
        guided = guide(conditional, null, strength=2.0, every=guidance_every)
        velocity = extrapolate(guided, steps=24, rescale_t=3.0, every=velocity_every)
        euler_sample(velocity, torch.ones(1), steps=24, rescale_t=3.0)
        return conditional.calls, null.calls

    assert [evaluations(speed) for speed in SPEEDS] == [(24, 24), (14, 14), (14, 7)]
