"""A linear layer with its GELU: the fused function is used only where it is the tanh's GELU of the layer."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.ops.norms import gelu as module
from trellis.ops.norms.gelu import agrees, by_torch, fused_for, in_one_product, linear_gelu

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "is_gpu", lambda device: device.type != "cpu")
    fused_for.cache_clear()
    yield
    fused_for.cache_clear()


def _exact(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    return F.gelu(F.linear(x, weight, bias))


def _unshifted(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    return F.gelu(F.linear(x, weight), approximate="tanh")


def _rounded_once(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    return by_torch(x.float(), weight.float(), bias=bias.float()).to(x.dtype)


def _not_finite(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    return by_torch(x, weight, bias=bias).masked_fill_(bias > 0.9, torch.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_is_the_two_layers(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    layer = nn.Linear(12, 40, dtype=dtype)
    x = torch.randn(7, 12, generator=generator).to(dtype)
    with torch.no_grad():
        assert torch.equal(linear_gelu(x, layer.weight, bias=layer.bias), nn.GELU("tanh")(layer(x)))


def test_the_exact_gelu_and_other_faults_are_found_out() -> None:
    assert agrees(by_torch, CPU)
    assert agrees(_rounded_once, CPU)
    for wrong in (_exact, _unshifted, _not_finite):
        assert not agrees(wrong, CPU), wrong.__name__


@pytest.mark.skipif(not hasattr(torch, "_addmm_activation"), reason="this torch has no such function")
def test_the_function_of_the_cpu_is_another_one() -> None:
    x, weight, bias = torch.full((2, 1), -2.0), torch.ones(3, 1), torch.zeros(3)
    assert torch.allclose(in_one_product(x, weight, bias=bias), _exact(x, weight, bias=bias))
    assert not agrees(in_one_product, CPU)
    assert fused_for(CPU) is None


def test_it_is_used_where_it_agrees(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "agrees", lambda function, device: True)
    assert fused_for(META) is in_one_product
    x, weight, bias = (torch.zeros(shape, dtype=torch.float16, device=META) for shape in ((5, 8), (16, 8), (16,)))
    assert linear_gelu(x, weight, bias=bias).shape == (5, 16)


@pytest.mark.parametrize(
    "fault", [AttributeError("no such function"), TypeError("no such option"), RuntimeError("not for this card"), None]
)
def test_it_is_not_used_where_it_fails_or_differs(
    fault: Exception | None, fresh: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(function: object, device: object) -> bool:
        if fault is not None:
            raise fault
        return False

    monkeypatch.setattr(module, "agrees", refuse)
    caplog.set_level("INFO")
    assert fused_for(META) is None
    assert str(fault or "another function") in caplog.text
