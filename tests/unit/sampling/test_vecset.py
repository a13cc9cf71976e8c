"""Times of a shape model's steps, guidance and the integration, beyond the published numbers."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.sampling.vecset import sample_shape, shape_times, shape_velocity
from trellis.stages import Stage


def test_one_step_goes_all_the_way() -> None:
    assert shape_times(1) == [0.0, 1.0]
    assert shape_times(1, 100) == [0.0, 1.0]
    assert len(shape_times(30)) == 30 and len(shape_times(5, 100)) == 6
    assert shape_times(2, 50) == [0.0, (25 * 20 - 1) / 999, 1.0]
    with pytest.raises(InvalidInputError, match="at least 1"):
        shape_times(0)


def test_a_straight_way_is_followed_exactly_and_every_step_is_told() -> None:
    steps: list[StepInfo] = []
    times = shape_times(5, 100)
    x = sample_shape(lambda x, t: torch.full_like(x, 2 * t), torch.zeros(1, 2, 3), times=times,
                     progress=Progress(steps.append))  # fmt: skip
    expected = sum(2 * a * (b - a) for a, b in pairwise(times))
    torch.testing.assert_close(x, torch.full((1, 2, 3), expected))
    assert [(info.stage, info.step, info.total) for info in steps] == [(Stage.STRUCTURE, i, 5) for i in range(1, 6)]


def test_a_wish_to_stop_is_heard_within_a_step() -> None:
    token, calls = CancelToken(), []

    def velocity(x: Tensor, time: float) -> Tensor:
        calls.append(time)
        token.cancel()
        return x

    with pytest.raises(Cancelled):
        sample_shape(velocity, torch.zeros(1), times=shape_times(5, 100), progress=Progress(cancel=token))
    assert calls == [0.0]


@pytest.mark.parametrize("together", [True, False])
def test_guidance_of_a_plain_flow_leads_away_from_zeros(together: bool) -> None:
    def flow(x: Tensor, time: float, tokens: Tensor) -> Tensor:
        return x + tokens.sum((1, 2))[:, None, None] + time

    velocity = shape_velocity(flow, torch.full((1, 2, 2), 0.5), guidance=5.0, distilled=False, together=together)
    torch.testing.assert_close(velocity(torch.ones(1, 3, 1), 0.25), torch.full((1, 3, 1), 1 + 0.25 + 5 * 2.0))


def test_guidance_of_a_distilled_flow_is_its_input() -> None:
    def flow(x: Tensor, time: float, tokens: Tensor, *, guidance: float) -> Tensor:
        return x * guidance

    velocity = shape_velocity(flow, torch.ones(1, 2, 2), guidance=7.0, distilled=True, together=True)
    assert float(velocity(torch.ones(1, 1, 1), 0.5)) == 7
