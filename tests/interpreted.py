"""Triton kernels run by its interpreter, on a CPU: a program of their own, since the switch is read at import."""

import importlib.util
import os
import subprocess
import sys

import pytest

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def run_interpreted(program: str) -> None:
    """Run a Python program whose kernels are interpreted; it must end well and say "the same"."""
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert "the same" in run.stdout
