"""cuDNN is tried before it is used, and left out with a remark where it fails; all on a device that is made up."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from trellis import runtime
from trellis.errors import InvalidInputError
from trellis.runtime import set_cudnn

CPU = torch.device("cpu")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The CPU, taken for a card with cuDNN."""
    monkeypatch.setattr(runtime, "is_gpu", lambda device: True)
    monkeypatch.setattr(runtime, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *tensors: tensors[0])
    before = torch.backends.cudnn.enabled
    yield monkeypatch
    torch.backends.cudnn.enabled = before


def failing(message: str) -> Any:
    def conv2d(*_: Any) -> None:
        raise RuntimeError(message)

    return conv2d


def test_it_is_used_where_it_works_and_left_out_where_it_fails(card: pytest.MonkeyPatch) -> None:
    assert set_cudnn("auto", CPU) is None and torch.backends.cudnn.enabled
    card.setattr(torch.nn.functional, "conv2d", failing("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED\nmore"))
    remark = set_cudnn("auto", CPU)
    assert remark is not None and "CUDNN_STATUS_NOT_INITIALIZED)" in remark and "without it" in remark
    assert not torch.backends.cudnn.enabled
    assert set_cudnn("on", CPU) is None and torch.backends.cudnn.enabled  # as the user says
    assert set_cudnn("off", CPU) is None and not torch.backends.cudnn.enabled


def test_another_fault_is_not_taken_for_one_of_cudnn(card: pytest.MonkeyPatch) -> None:
    card.setattr(torch.nn.functional, "conv2d", failing("CUDA error: an illegal memory access"))
    with pytest.raises(RuntimeError, match="illegal memory"):
        set_cudnn("auto", CPU)
    with pytest.raises(InvalidInputError, match="auto, on, off"):
        set_cudnn("maybe", CPU)


def test_nothing_is_tried_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "conv2d", failing("must not be called"))
    assert set_cudnn("auto", CPU) is None
