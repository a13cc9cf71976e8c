"""Residency of networks: loaded once, moved as told, given back after a failure."""

import pytest
import torch
from torch import nn

from trellis.errors import InvalidInputError
from trellis.memory import ModelHost

DEVICE = torch.device("meta")  # a device that any machine has and that is not the CPU


def host(residency: str) -> tuple[ModelHost, list[int]]:
    loads: list[int] = []

    def load() -> nn.Module:
        loads.append(1)
        return nn.Linear(2, 2)

    return ModelHost({"net": load}, device=DEVICE, residency=residency), loads


def test_a_network_is_loaded_once_and_kept_on_the_device() -> None:
    keep, loads = host("keep")
    with keep.on_device("net") as first:
        assert not first.training and not first.weight.requires_grad
    with keep.on_device("net") as second:
        assert second is first and second.weight.device == DEVICE
    assert len(loads) == 1


def test_offload_gives_the_device_back_even_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    offload, _ = host("offload")
    moves: list[str] = []
    monkeypatch.setattr(nn.Module, "to", lambda self, device: moves.append(str(device)) or self)
    with pytest.raises(RuntimeError, match="stage"), offload.on_device("net"):
        raise RuntimeError("stage failed")
    assert moves == ["meta", "cpu"]


def test_unload_loads_anew() -> None:
    keep, loads = host("keep")
    for _ in range(2):
        with keep.on_device("net"):
            pass
        keep.unload()
    assert len(loads) == 2


def test_unknown_role_and_residency_name_the_known_ones() -> None:
    keep, _ = host("keep")
    with pytest.raises(InvalidInputError, match="it has net"), keep.on_device("other"):
        pass
    with pytest.raises(InvalidInputError, match="keep, offload"):
        ModelHost({}, device=DEVICE, residency="somewhere")
