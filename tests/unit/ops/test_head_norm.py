"""Norm of heads in place: torch, the kernel in Triton's interpreter, and kernels that are wrong."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.interpreted import needs_triton, run_interpreted
from trellis.nn.norm import HeadRMSNorm
from trellis.ops.norms import heads

CPU = torch.device("cpu")
INTERPRETED = """
import torch
from trellis.errors import InvalidInputError
from trellis.ops.norms import heads
from trellis.ops.norms.heads_triton import by_triton
assert heads.agrees(by_triton, torch.device("cpu"))
for x, gammas in (
    (torch.zeros(2, 4, 2, 8).transpose(1, 2), torch.ones(2, 4, 8)),
    (torch.zeros(2, 3, 4, 8), torch.ones(3, 4, 8)),
):
    try:
        by_triton(x, gammas.unbind())
    except InvalidInputError:
        continue
    raise AssertionError("it was taken")
print("the same")
"""


@needs_triton
def test_interpreted_kernel_is_torch() -> None:
    run_interpreted(INTERPRETED)


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
        heads.normalize_heads(x[:, :2], [layer.gamma for layer in layers])
    rounding = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    assert (x - expected).abs().max() <= rounding * expected.abs().max()


def _wrong_value(x: Tensor, gammas: Sequence[Tensor]) -> None:
    heads.by_torch(x, [1.1 * gamma for gamma in gammas])


def _one_gamma_for_all(x: Tensor, gammas: Sequence[Tensor]) -> None:
    heads.by_torch(x, [gammas[0]] * len(gammas))


def _spills(x: Tensor, gammas: Sequence[Tensor]) -> None:
    heads.by_torch(x, gammas)
    torch.as_strided(x, (1,), (1,), x.storage_offset() + x.stride(0) - 1).fill_(7)


def test_wrong_kernels_are_found_out() -> None:
    assert heads.agrees(heads.by_torch, CPU)
    assert not heads.agrees(_wrong_value, CPU)
    assert not heads.agrees(_one_gamma_for_all, CPU)
    assert not heads.agrees(_spills, CPU)
    assert heads.kernel_for(CPU) is None
