"""Which of several GPUs is used, and that it is the current one from then on: a kernel elsewhere cannot read it."""

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.runtime import Runtime


def test_a_numbered_gpu_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    assert Runtime.detect(device="cuda:1", attention="sdpa").device == torch.device("cuda:1")
    assert chosen == [1]
    with pytest.raises(InvalidInputError, match="no cuda:2 here, but 2 of its kind"):
        Runtime.detect(device="cuda:2")
    Runtime.detect(device="cuda", attention="sdpa")
    Runtime.detect(device="cpu")
    assert chosen == [1], "the others are the first one, or none"
