"""The fastest way is taken, unless its result is wrong or it cannot run."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from trellis.ops import fastest

CPU = torch.device("cpu")
WAYS = ("first", "second")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the measurement: `now` moves only where a way is slow."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def trial(clock: SimpleNamespace, *, slow: str, wrong: str = "", broken: str = "") -> str:
    def run(way: str) -> Tensor:
        clock.now += 0.005 if way == slow else 0.001
        if way == broken:
            raise RuntimeError("no plan")
        return torch.full((3,), 2.0 if way == wrong else 1.0)

    return fastest.fastest(run, WAYS, CPU, question="a trial")


def test_the_fastest_right_one_is_taken(clock: SimpleNamespace) -> None:
    assert trial(clock, slow="first") == "second"
    assert trial(clock, slow="second") == "first"
    assert trial(clock, slow="first", wrong="second") == "first"
    assert trial(clock, slow="first", broken="second") == "first"


def test_the_first_stays_where_another_is_hardly_faster(clock: SimpleNamespace) -> None:
    def run(way: str) -> Tensor:
        clock.now += 0.001 if way == "first" else 0.00098
        return torch.ones(3)

    assert fastest.fastest(run, WAYS, CPU, question="a trial") == "first"
