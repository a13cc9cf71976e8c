"""The doctor tries what it reports, and says why something is not used."""

import pytest
import torch

from trellis.app import doctor
from trellis.app.doctor import diagnose
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.ops import attention, sparse_conv
from trellis.runtime import Runtime

CPU = Runtime(device=torch.device("cpu"), offline=True)


def test_diagnosis_of_a_cpu() -> None:
    found = diagnose(CPU)
    assert [finding.subject for finding in found.attention] == list(attention.BACKENDS)
    works = {finding.subject: finding for finding in (*found.attention, *found.convolution)}
    assert works["sdpa"].works and "agrees with the reference" in works["sdpa"].remark
    assert works["builtin"].works and not works["varlen"].works and "float32 on cpu" in works["varlen"].remark
    assert not works["flash-attn"].works and "not installed" in works["flash-attn"].remark
    assert all("untested on hardware" in f.remark for f in found.rendering if f.subject not in ("warp", "reference"))
    assert not works["triton"].works
    assert "not installed" in works["triton"].remark or "float32 on cpu" in works["triton"].remark
    assert any(finding.subject == "nano" for finding in found.models)
    text = "\n".join(found.lines())
    for part in (
        torch.__version__,
        "preset fastest",
        "rendering: builtin",
        "Sparse convolution",
        "attention: sdpa",
        "Plan",
        "builtin",
    ):
        assert part in text
    assert found.presets == (
        "trellis, trellis-few-steps: fastest 7.25, balanced 5.25, sequential 3.5, minimal 3, prototype 3.5; "
        "auto is fastest here",
        "hunyuan, hunyuan-turbo: fastest 6, balanced 4, sequential 3.5, minimal 3, prototype 3.5; auto is fastest here",
        "hunyuan-mini, hunyuan-mini-turbo: fastest 5, balanced 4, sequential 3.5, minimal 3, prototype 3.5; "
        "auto is fastest here",
    )
    assert all(line in text for line in found.presets)
    plan = "\n".join(found.plan)
    for untrue in ("stays on the graphics card", "captured", "triton", "varlen"):  # of a machine without a card
        assert untrue not in plan


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(q: object) -> bool:
        raise MissingDependencyError("flash-attn is not installed")

    monkeypatch.setattr(attention.MODULES["flash-attn"], "is_usable", missing)
    finding = next(f for f in diagnose(CPU).attention if f.subject == "flash-attn")
    assert not finding.works and finding.remark.startswith("flash-attn is not installed")


def test_a_package_that_fails_in_its_own_way_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(q: object) -> bool:
        raise KeyError(torch.bfloat16)

    monkeypatch.setattr(attention.MODULES["xformers"], "is_usable", fails)
    finding = next(f for f in diagnose(CPU).attention if f.subject == "xformers")
    assert not finding.works and finding.remark == "KeyError: torch.bfloat16"


def test_wrong_results_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sparse_conv.submanifold_conv
    monkeypatch.setattr(doctor.sparse_conv, "submanifold_conv", lambda *a, **k: right(*a, **k) * 1.01)
    builtin = diagnose(CPU).convolution[0]
    assert not builtin.works and "wrong results" in builtin.remark


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="auto"):
        diagnose(CPU, preset="best")
