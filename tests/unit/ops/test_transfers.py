"""Numbers on their way to a GPU, as far as a machine without one can tell."""

import pytest
import torch
from torch import Tensor

from trellis.ops.transfers import pinned, sent

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_on_the_cpu_numbers_stay_what_they_are() -> None:
    numbers = torch.arange(5)
    assert torch.equal(sent(numbers, CPU), numbers) and not pinned(numbers, CPU).is_pinned()


def test_nothing_is_sent_while_a_gpus_work_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay would read memory that has been given to others."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="recorded"):
        sent(torch.ones(1), GPU)


@pytest.mark.parametrize("locked", [True, False])
def test_numbers_are_sent_without_waiting_from_locked_memory_if_there_is_any(
    locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pin_memory(tensor: Tensor) -> Tensor:
        if not locked:
            raise RuntimeError("cannot lock memory")
        return tensor + 1  # told apart from what was given

    def to(tensor: Tensor, *place: object, non_blocking: bool = False) -> Tensor:
        asked.append((place, non_blocking))
        return tensor

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    found = sent(torch.zeros(2), GPU)
    assert found.tolist() == ([1.0, 1.0] if locked else [0.0, 0.0])
    assert asked[-1] == ((GPU,), True)
