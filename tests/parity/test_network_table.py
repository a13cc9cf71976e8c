"""The table of back ends and precisions: what it can use here agrees, and it sees networks that do not."""

import pytest
import torch

from tests.parity import network_table, run
from trellis.models import Network

CASES = ("ss_flow", "slat_flow", "slat_decoder_mesh")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.load_references

    def some(*given: object) -> run.References:
        refs = whole(*given)
        return run.References(refs.salt, {name: refs.cases[name] for name in CASES}, refs.device)

    monkeypatch.setattr(network_table, "load_references", some)


def test_every_precision_agrees_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert network_table.main([]) == 0
    out = capsys.readouterr().out
    assert "6 of 6 ways agree." in out
    for precision in ("float32", "float16", "bfloat16"):
        assert f"ok   {precision:9} attention sdpa" in out and f"-    {precision:9} attention varlen" in out


@pytest.mark.parametrize("factor", [1.5, float("nan")])
@pytest.mark.parametrize("dtype", network_table.LIMITS)
def test_a_network_that_differs_is_a_miss(
    dtype: torch.dtype, factor: float, capsys: pytest.CaptureFixture[str]
) -> None:
    def disturb(network: Network) -> None:
        with torch.no_grad():
            for block in network.blocks:  # type: ignore[union-attr]
                block.mlp.mlp[2].weight *= factor  # type: ignore[union-attr,index]

    refs = network_table.load_references(run.GOLDENS)
    assert not network_table.check(refs, "disturbed", dtype, disturb)
    assert "MISS" in capsys.readouterr().out


def test_an_error_on_the_way_is_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(network: Network) -> None:
        raise RuntimeError("no kernel")

    refs = network_table.load_references(run.GOLDENS)
    assert not network_table.check(refs, "refused", torch.float32, refuse)
    assert "no kernel" in capsys.readouterr().out
