"""Norm of heads in place: torch, the kernel in Triton's interpreter, and kernels that are wrong."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from trellis.nn.norm import HeadRMSNorm
from trellis.ops import head_norm

CPU = torch.device("cpu")
INTERPRETED = """
import torch
from trellis.errors import InvalidInputError
from trellis.ops import head_norm
from trellis.ops.head_norm_triton import by_triton
assert head_norm.agrees(by_triton, torch.device("cpu"))
try:
    by_triton(torch.zeros(2, 4, 3, 8).transpose(1, 2), torch.ones(3, 4, 8))
except InvalidInputError:
    print("the same")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_interpreted_kernel_is_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert "the same" in run.stdout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_equals_the_layer(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    x = (3 * torch.randn(9, 3, 2, 16, generator=generator)).to(dtype)
    x[4, 0, 1] = 0
    layers = [HeadRMSNorm(2, 16), HeadRMSNorm(2, 16)]
    with torch.no_grad():
        for layer in layers:
            layer.gamma.copy_(torch.rand(2, 16, generator=generator) + 0.5)
        expected = torch.stack([layers[0](x[:, 0]), layers[1](x[:, 1]), x[:, 2]], 1)
        head_norm.normalize_heads(x[:, :2], torch.stack([layer.gamma for layer in layers]))
    rounding = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    assert (x - expected).abs().max() <= rounding * expected.abs().max()


def _wrong_value(x: Tensor, gamma: Tensor) -> None:
    head_norm.by_torch(x, 1.1 * gamma)


def _spills(x: Tensor, gamma: Tensor) -> None:
    head_norm.by_torch(x, gamma)
    torch.as_strided(x, (1,), (1,), x.storage_offset() + x.stride(0) - 1).fill_(7)


def test_wrong_kernels_are_found_out() -> None:
    assert head_norm.agrees(head_norm.by_torch, CPU)
    assert not head_norm.agrees(_wrong_value, CPU)
    assert not head_norm.agrees(_spills, CPU)
    assert head_norm.kernel_for(CPU) is None
