"""Sampling with a known part: it comes out as it is, the rest is what the flow makes beside it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trellis.errors import Cancelled
from trellis.progress import CancelToken, Progress
from trellis.sampling import Known, euler_sample, repaint_sample

STEPS, RESCALE, SIGMA = 8, 3.0, 1e-5


def noise() -> Tensor:
    return torch.randn(2, 6, generator=torch.Generator().manual_seed(1))


def sample(known: Known, velocity, *, seed: int = 0, progress: Progress | None = None) -> Tensor:
    return repaint_sample(
        velocity,
        noise(),
        known=known,
        steps=STEPS,
        rescale_t=RESCALE,
        sigma=SIGMA,
        generator=torch.Generator().manual_seed(seed),
        progress=progress,
    )


def some_known(resample: int = 1) -> Known:
    mask = torch.tensor([[True, False, False, True, False, False]])
    return Known(torch.full((2, 6), 0.3), mask, resample)


def towards(target: Tensor):
    """The velocity of the straight path from the noise to `target`, whatever the state."""
    return lambda x, t: noise() - target


def test_nothing_known_is_plain_sampling_bit_by_bit() -> None:
    def velocity(x: Tensor, t: float) -> Tensor:
        return x * 0.5 + t / 1000

    nothing = Known(torch.zeros(2, 6), torch.zeros(2, 6, dtype=torch.bool))
    plain = euler_sample(velocity, noise(), steps=STEPS, rescale_t=RESCALE)
    assert torch.equal(sample(nothing, velocity), plain)


@pytest.mark.parametrize("resample", [1, 3])
def test_known_values_come_out_byte_for_byte(resample: int) -> None:
    known = some_known(resample)
    found = sample(known, towards(torch.ones(2, 6)))
    mask = known.mask.expand(2, 6)
    assert torch.equal(found[mask], known.values[mask])
    if resample == 1:
        assert torch.allclose(found[~mask], torch.ones(8), atol=1e-5)


def test_before_each_step_the_known_part_lies_on_the_way_from_its_noise() -> None:
    known, states = some_known(), list[tuple[float, Tensor]]()

    def velocity(x: Tensor, t1000: float) -> Tensor:
        states.append((t1000 / 1000, x.clone()))
        return torch.zeros_like(x)

    sample(known, velocity)
    assert len(states) == STEPS
    mask = known.mask.expand(2, 6)
    for t, x in states:
        assert torch.allclose(x[mask], ((1 - t) * known.values + (SIGMA + (1 - SIGMA) * t) * noise())[mask])


def test_resampling_takes_its_turns_draws_from_the_generator_and_keeps_the_spread() -> None:
    times = list[float]()

    def velocity(x: Tensor, t1000: float) -> Tensor:
        times.append(t1000)
        return torch.zeros_like(x)

    nothing = Known(torch.zeros(1), torch.zeros(1, dtype=torch.bool), 3)
    first, again, other = (sample(nothing, velocity, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(times) == 3 * 3 * STEPS and times[0] == times[1] == times[2] > times[3]


def test_a_few_steps_tell_where_the_rest_leads() -> None:
    calls, target = list[float](), torch.ones(2, 6)

    def velocity(x: Tensor, t1000: float) -> Tensor:
        calls.append(t1000)
        return noise() - target

    known = replace(some_known(), until=2)
    found = sample(known, velocity)
    assert len(calls) == 2
    assert torch.allclose(found, torch.where(known.mask, known.values, target), atol=1e-5)


def test_a_wish_to_stop_is_heard_between_the_turns_of_a_step() -> None:
    token, calls = CancelToken(), list[float]()

    def velocity(x: Tensor, t1000: float) -> Tensor:
        calls.append(t1000)
        token.cancel()
        return torch.zeros_like(x)

    with pytest.raises(Cancelled):
        sample(some_known(5), velocity, progress=Progress(cancel=token))
    assert len(calls) == 1
