"""Kernels are taken where they can be loaded and agree."""

import importlib.util
import subprocess
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from trellis.ops.checked_kernels import checked_kernels

NEEDS_TRITON = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
GPU = torch.device("cuda")
HOME = "trellis.ops.segments"  # any module does


def fails(error: Exception) -> Callable[[ModuleType], bool]:
    def check(kernels: ModuleType) -> bool:
        raise error

    return check


@NEEDS_TRITON
def test_kernels_that_agree_are_used(caplog: pytest.LogCaptureFixture) -> None:
    found = checked_kernels(HOME, GPU, agrees=lambda kernels: kernels.__name__ == HOME, otherwise="slowly")
    assert found is not None and found.__name__ == HOME
    assert caplog.text == ""


@NEEDS_TRITON
@pytest.mark.parametrize(
    ("name", "agrees", "reason"),
    [
        (HOME, lambda kernels: False, "differ"),
        (HOME, fails(RuntimeError("no such instruction")), "no such instruction"),
        (HOME, fails(subprocess.CalledProcessError(1, "cc")), "cc"),
        ("trellis.ops.no_kernels", lambda kernels: True, "no_kernels"),
    ],
)
def test_others_are_not_and_the_log_says_why(
    name: str, agrees: Callable[[ModuleType], bool], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert checked_kernels(name, GPU, agrees=agrees, otherwise="done slowly") is None
    assert "done slowly" in caplog.text and reason in caplog.text


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_nothing_is_loaded_where_no_kernel_runs(device: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = fails(AssertionError("never asked"))
    assert checked_kernels("trellis.ops.no_kernels", torch.device(device), agrees=wrong, otherwise="slowly") is None
    assert caplog.text == ""


def test_nothing_is_loaded_without_triton(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert checked_kernels(HOME, GPU, agrees=lambda kernels: True, otherwise="slowly") is None
    assert caplog.text == ""
