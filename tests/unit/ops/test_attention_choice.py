"""The fastest back end is taken, unless its result is wrong or it cannot run."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from trellis.ops import fastest
from trellis.ops.attention_choice import choose, fastest_backend

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the measurement: `now` moves only where a back end is slow."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def trial(clock: SimpleNamespace, *, slow: str, wrong: str = "", broken: str = "") -> str:
    def attend(name: str) -> Tensor:
        clock.now += 0.005 if name == slow else 0.001
        if name == broken:
            raise RuntimeError("no plan")
        return torch.full((3,), 2.0 if name == wrong else 1.0)

    return choose(attend, CPU, question="attention")


def test_the_fastest_right_one_is_taken(clock: SimpleNamespace) -> None:
    assert trial(clock, slow="sdpa") == "cudnn"
    assert trial(clock, slow="cudnn") == "sdpa"
    assert trial(clock, slow="sdpa", wrong="cudnn") == "sdpa"
    assert trial(clock, slow="sdpa", broken="cudnn") == "sdpa"


def test_a_cpu_leaves_the_choice_to_every_call() -> None:
    assert fastest_backend(CPU, torch.float32, q_length=8, k_length=4, heads=2, width=8) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_has_a_choice() -> None:
    device = torch.device("cuda")
    assert fastest_backend(device, torch.float16, q_length=512, k_length=100, heads=2, width=64) in ("sdpa", "cudnn")
