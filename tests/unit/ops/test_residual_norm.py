"""Norms with what is added before and activated after: torch, the kernels in Triton's interpreter, wrong kernels."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interpreted import needs_triton, run_interpreted
from trellis.nn.norm import LayerNorm
from trellis.ops.norms import residual
from trellis.ops.norms.residual import (
    RowNorm,
    add_and_normalize,
    add_and_normalize_by_torch,
    normalize_and_activate,
    normalize_and_activate_by_torch,
)

CPU = torch.device("cpu")
ROUNDING = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
INTERPRETED = """
import itertools
import torch
from trellis.errors import InvalidInputError
from trellis.ops.norms import residual, residual_triton
from trellis.ops.norms.residual import RowNorm

assert residual.agrees(residual_triton, torch.device("cpu"))
generator = torch.Generator().manual_seed(3)
present = [(True, True), (True, False), (False, True), (False, False)]
cases = [(width, rows, torch.float16) for width, rows in itertools.product((192, 256, 768, 1024), (1, 37))]
cases += [(100, 5, torch.bfloat16), (1000, 9, torch.float16), (4100, 3, torch.float16)]
for (width, rows, dtype), (gated, shifted) in itertools.product(cases, present):
    whole = torch.randn(2, rows, width + 8, generator=generator).to(dtype)
    x, h = whole[:, :, :width]  # rows of a wider tensor
    x.mul_(20).add_(3)
    x[0], h[0] = 5, 0  # a row without spread
    gate, constant, weight, shift = torch.randn(4, width, generator=generator).to(dtype)
    norm = RowNorm(weight.float(), shift.float(), 1e-6) if gated else RowNorm(weight, shift, 1e-6)
    options = {"gate": gate if gated else None, "constant": constant if shifted else None, "norm": norm, "out": None}
    options |= {"h_rows": torch.arange(rows).flip(0) if gated else None}
    options |= {"out_rows": torch.randperm(rows, generator=generator) if shifted else None}
    expected = x.clone()
    residual.add_and_normalize_by_torch(expected, h, **options)
    found = residual_triton.add_and_normalize(x, h, **options)
    limit = 4e-3 if dtype == torch.float16 else 3e-2
    assert torch.allclose(x, expected, rtol=limit / 2, atol=limit), (width, rows, gated, shifted)
    found = found if options["out_rows"] is None else found[options["out_rows"]]
    assert torch.allclose(found, norm(x), rtol=limit, atol=limit), (width, rows, gated, shifted)
    if dtype == torch.float16 and not shifted:  # rounded once, as by torch; the interpreter cuts bfloat16 off
        assert (x == expected).float().mean() > 0.999, (width, rows, gated)
    if not shifted:
        for out in (dtype, torch.float32):
            expected = residual.normalize_and_activate_by_torch(x, norm=norm, dtype=out)
            found = residual_triton.normalize_and_activate(x, norm=norm, dtype=out)
            assert found.dtype == out and found.is_contiguous()
            assert torch.allclose(found, expected, rtol=limit, atol=limit), (width, rows, dtype, out)
rows, row = torch.zeros(8, 8), torch.ones(8)
norm = RowNorm(row, row, 1e-6)
calls = [
    lambda: residual_triton.add_and_normalize(
        rows.t(), rows, norm=norm, gate=None, constant=None, out=None, h_rows=None, out_rows=None
    ),
    lambda: residual_triton.normalize_and_activate(rows.t(), norm=norm, dtype=torch.float32),
    lambda: residual_triton.add_and_normalize(
        rows, rows[:5], norm=norm, gate=None, constant=None, out=None, h_rows=None, out_rows=None
    ),
    lambda: residual_triton.add_and_normalize(
        rows, rows, norm=norm, gate=None, constant=None, out=None, h_rows=None, out_rows=torch.arange(5)
    ),
]
for call in calls:
    try:
        call()
    except InvalidInputError:
        continue
    raise AssertionError("scattered rows were taken")
print("the same")
"""


@needs_triton
def test_interpreted_kernel_is_torch() -> None:
    run_interpreted(INTERPRETED)


def inputs(dtype: torch.dtype, width: int = 24) -> tuple[Tensor, Tensor, Tensor, Tensor, RowNorm]:
    generator = torch.Generator().manual_seed(1)
    x, h = 3 * torch.randn(2, 9, width, generator=generator)
    gate, constant, weight, shift = torch.randn(4, width, generator=generator)
    parts = [part.to(dtype) for part in (x, h, gate, constant)]
    return parts[0], parts[1], parts[2], parts[3], RowNorm(weight.to(dtype), shift.to(dtype), 1e-6)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_is_the_sum_and_its_layer_norm(dtype: torch.dtype, gated: bool, shifted: bool, given: bool) -> None:
    x, h, gate, constant, norm = inputs(dtype)
    total = x.double() + h.double() * (gate.double() if gated else 1) + (constant.double() if shifted else 0)
    spread = (total.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    expected = (total - total.mean(-1, keepdim=True)) / spread * norm.weight.double() + norm.shift.double()
    out = torch.full((11, *x.shape[1:]), 7.0, dtype=dtype)[1:-1] if given else None
    found = add_and_normalize(
        x, h, norm=norm, gate=gate if gated else None, constant=constant if shifted else None, out=out
    )
    assert out is None or found is out
    for got, wanted in ((x, total), (found, expected)):
        assert got.dtype == dtype
        assert (got - wanted).abs().max() <= ROUNDING[dtype] * wanted.abs().max()


@pytest.mark.parametrize("given", [True, False])
def test_rows_come_and_go_where_they_are_told(given: bool) -> None:
    x, h, gate, _, norm = inputs(torch.float32)
    generator = torch.Generator().manual_seed(2)
    more = torch.cat([h, h + 1])
    h_rows, out_rows = (torch.randperm(n, generator=generator)[: len(x)] for n in (len(more), len(x)))
    total = x.clone()
    expected = add_and_normalize(total, more[h_rows], norm=norm, gate=gate)
    out = torch.empty_like(x) if given else None
    found = add_and_normalize(x, more, norm=norm, gate=gate, out=out, h_rows=h_rows, out_rows=out_rows)
    assert torch.equal(x, total) and torch.equal(found[out_rows], expected) and (out is None or found is out)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_a_norm_with_float32_rows_is_the_layer(dtype: torch.dtype) -> None:
    x, _, _, _, norm = inputs(torch.float32)
    layer = LayerNorm(x.shape[1], eps=norm.eps, affine=True)
    assert layer.weight is not None and layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(norm.weight)
        layer.bias.copy_(norm.shift)
        expected = layer(x.to(dtype))
        found = norm(x.to(dtype))
    assert found.dtype == dtype
    assert (found - expected).abs().max() <= ROUNDING[dtype] * expected.abs().max()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("wanted", [None, torch.float32])
def test_an_activated_norm_is_silu_of_the_layer(dtype: torch.dtype, wanted: torch.dtype | None) -> None:
    x, _, _, _, norm = inputs(dtype)
    rows, before = x.double(), x.clone()
    spread = (rows.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    values = (rows - rows.mean(-1, keepdim=True)) / spread * norm.weight.double() + norm.shift.double()
    expected = values * values.sigmoid()
    exact = RowNorm(norm.weight.float(), norm.shift.float(), norm.eps)
    found = normalize_and_activate(x, norm=exact, dtype=wanted)
    assert found.dtype == (wanted or dtype) and torch.equal(x, before)
    assert (found - expected).abs().max() <= ROUNDING[found.dtype] * expected.abs().max()


def _ungated(x: Tensor, h: Tensor, *, gate: Tensor | None, **options: Any) -> Tensor:
    return add_and_normalize_by_torch(x, h, gate=None, **options)


def _without_constant(x: Tensor, h: Tensor, *, constant: Tensor | None, **options: Any) -> Tensor:
    return add_and_normalize_by_torch(x, h, constant=None, **options)


def _in_order(x: Tensor, h: Tensor, *, out_rows: Tensor | None, **options: Any) -> Tensor:
    return add_and_normalize_by_torch(x, h, out_rows=None, **options)


def _reads_in_order(x: Tensor, h: Tensor, *, h_rows: Tensor | None, **options: Any) -> Tensor:
    return add_and_normalize_by_torch(x, h[: len(x)], h_rows=None, **options)


def _unbiased(x: Tensor, h: Tensor, *, norm: RowNorm, **options: Any) -> Tensor:
    width = x.shape[1]
    return add_and_normalize_by_torch(
        x, h, norm=replace(norm, weight=norm.weight * ((width - 1) / width) ** 0.5), **options
    )


def _of_what_was_there_before(x: Tensor, h: Tensor, *, norm: RowNorm, out: Tensor, **options: Any) -> Tensor:
    before = x.clone()
    add_and_normalize_by_torch(x, h, norm=norm, out=None, **options)
    return out.copy_(norm(before))


def _keeps_the_stream(x: Tensor, h: Tensor, **options: Any) -> Tensor:
    return add_and_normalize_by_torch(x.clone(), h, **options)


def _spills(x: Tensor, h: Tensor, **options: Any) -> Tensor:
    torch.as_strided(x, (1,), (1,), x.storage_offset() + x.shape[1]).fill_(7)
    return add_and_normalize_by_torch(x, h, **options)


def _leaves_a_row_of_the_result(x: Tensor, h: Tensor, *, out: Tensor, **options: Any) -> Tensor:
    last = out[-1].clone()
    add_and_normalize_by_torch(x, h, out=out, **options)
    out[-1] = last
    return out


def _one_row_less(x: Tensor, h: Tensor, *, h_rows: Tensor | None, **options: Any) -> Tensor:
    last = x[-1].clone()
    out = add_and_normalize_by_torch(x, h[: len(x)] if h_rows is None else h, h_rows=h_rows, **options)
    x[-1] = last
    return out


def _not_activated(x: Tensor, *, norm: RowNorm, dtype: torch.dtype) -> Tensor:
    return norm(x)


def _in_place(x: Tensor, *, norm: RowNorm, dtype: torch.dtype) -> Tensor:
    return x.copy_(normalize_and_activate_by_torch(x, norm=norm, dtype=dtype)).mul_(1.1)


def test_wrong_kernels_are_found_out() -> None:
    right: dict[str, Any] = {
        "add_and_normalize": add_and_normalize_by_torch, "normalize_and_activate": normalize_and_activate_by_torch
    }  # fmt: skip
    assert agrees(right)
    for wrong in (_ungated, _without_constant, _unbiased, _of_what_was_there_before, _keeps_the_stream, _spills,
                  _one_row_less, _leaves_a_row_of_the_result, _in_order, _reads_in_order):  # fmt: skip
        assert not agrees(right | {"add_and_normalize": wrong}), wrong.__name__
    for wrong in (_not_activated, _in_place):
        assert not agrees(right | {"normalize_and_activate": wrong}), wrong.__name__
    assert residual.kernels_on(CPU) is None


def agrees(functions: dict[str, Any]) -> bool:
    return residual.agrees(SimpleNamespace(**functions), CPU)  # type: ignore[arg-type]
