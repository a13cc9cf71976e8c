"""Sampling's evaluation of the flows against their `forward`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity import golden
from trellis.errors import InvalidInputError
from trellis.models import FlowSession, create_model
from trellis.nn.conv import SparseConv3d
from trellis.ops.captures import GraphReplay
from trellis.sparse import SparseTensor

CASES = json.loads((Path(golden.__file__).parent / "data/goldens.json").read_text())["cases"]
FLOWS = [name for name, case in CASES.items() if case.get("cls", "").endswith("FlowModel")]
TIMES = [1000.0, 640.5, 12.25]
LAYOUT = SparseTensor.create(
    torch.zeros(300, 8), golden.voxels("slat_flow", [300, 170], 16)[:300], resolution=16
).layout


def build(name: str, **changes: Any) -> Any:
    model = create_model(CASES[name]["cls"], {**CASES[name]["args"], **changes}).float().eval()
    golden.fill(model.named_parameters())
    return model


def is_sparse(model: Any) -> bool:
    return type(model).__name__ == "LatentFlow"


def draw(model: Any, count: int = 1) -> tuple[Tensor, list[Tensor]]:
    """A state, and conditions of 7 tokens."""
    shape = (300, 8) if is_sparse(model) else (1, model.config.in_channels, *[model.config.resolution] * 3)
    width = model.config.cond_channels
    return golden.normal("session/x", *shape), [golden.normal(f"session/c{i}", 1, 7, width) for i in range(count)]


def session_of(model: Any, conditions: list[Tensor], null: Tensor, **options: Any) -> FlowSession:
    layout = LAYOUT if is_sparse(model) else None
    return FlowSession(model, conditions, null=null, times=TIMES, layout=layout, **options)


def reference(model: Any, x: Tensor, time: float, condition: Tensor) -> Tensor:
    with torch.no_grad():
        t = torch.tensor([time])
        return model(SparseTensor(x, LAYOUT), t, condition).feats if is_sparse(model) else model(x, t, condition)


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert expected.std() > 1e-3
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", FLOWS)
def test_velocities_are_those_of_the_network(name: str) -> None:
    model = build(name)
    x, [condition] = draw(model)
    null = torch.zeros_like(condition)
    with session_of(model, [condition], null) as session:
        for time in (*TIMES, TIMES[0]):
            conditional, unconditional = session.pair(0)(x, time)
            close(conditional, reference(model, x, time, condition))
            close(unconditional, reference(model, x, time, null))
            close(session.velocity(0)(x + 1, time), reference(model, x + 1, time, condition))
            close(session.null_velocity()(x, time), reference(model, x, time, null))


@pytest.mark.parametrize("name", FLOWS)
def test_a_null_condition_of_different_tokens_is_attended_to(name: str) -> None:
    model = build(name)
    x, [condition, null] = draw(model, 2)
    with session_of(model, [condition], null) as session:
        close(session.pair(0)(x, TIMES[1])[1], reference(model, x, TIMES[1], null))


@pytest.mark.parametrize("name", FLOWS)
def test_several_conditions_take_turns(name: str) -> None:
    model = build(name)
    x, conditions = draw(model, 3)
    with session_of(model, conditions, torch.zeros_like(conditions[0])) as session:
        assert len(session) == 3
        for index in (1, 0, 2, 2, 1):
            close(session.velocity(index)(x, TIMES[0]), reference(model, x, TIMES[0], conditions[index]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FLOWS)
def test_half_precision_is_as_near_to_full_as_the_network_itself(name: str, dtype: torch.dtype) -> None:
    model = build(name)
    x, [condition] = draw(model)
    exact = reference(model, x, TIMES[1], condition)
    model.set_precision(dtype)
    own = (reference(model, x, TIMES[1], condition) - exact).abs().max()
    with session_of(model, [condition], torch.zeros_like(condition)) as session:
        error = (session.velocity(0)(x, TIMES[1]) - exact).abs().max()
    assert 0 < error <= 2 * own


def test_a_network_that_waits_for_the_device_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []

    class Recorded(GraphReplay):
        def __init__(self, device: torch.device, *, mode: str = "auto") -> None:
            modes.append(mode)
            super().__init__(device, mode=mode)

    monkeypatch.setattr("trellis.models.flow_session.GraphReplay", Recorded)
    flow = build(next(name for name in FLOWS if name.startswith("slat")))
    _, [condition] = draw(flow)
    with session_of(flow, [condition], torch.zeros_like(condition), graphs="on"):
        for module in flow.modules():
            if isinstance(module, SparseConv3d):
                module.backend = "spconv"
    with session_of(flow, [condition], torch.zeros_like(condition), graphs="on"):
        assert modes == ["on", "off"]


def test_session_refuses_what_it_was_not_made_for() -> None:
    model = build(FLOWS[0])
    x, [condition] = draw(model)
    with session_of(model, [condition], condition) as session, pytest.raises(InvalidInputError, match="time 3"):
        session.velocity(0)(x, 3.0)
    with pytest.raises(InvalidInputError, match="layout"):
        FlowSession(model, [condition], null=condition, times=TIMES, layout=LAYOUT)
    with pytest.raises(InvalidInputError, match="at least one"):
        FlowSession(model, [], null=condition, times=TIMES)
    with pytest.raises(InvalidInputError, match="auto, on, off"):
        FlowSession(model, [condition], null=condition, times=TIMES, graphs="always")
