"""How a pipeline was opened, and how much memory it took: enough to repeat a job, and named for what it is."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch

from trellis import runtime
from trellis.app.machine_options import open_pipeline
from trellis.app.presets import PRESETS
from trellis.app.terminal import peak_memory_line
from trellis.app.worker import resolved_plan
from trellis.memory import GIB
from trellis.runtime import Runtime

CPU = Runtime(preset="balanced", spconv_algo="native")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graphics card with 12 of its 16 GiB free, of which tensors have taken 3 at most."""
    figures = {"free_bytes": 12 * GIB, "used_bytes": 4 * GIB, "peak_allocated_bytes": 3 * GIB, "device_name": "Card"}
    for name, value in figures.items():
        monkeypatch.setattr(runtime, name, lambda device, value=value: value)


def plan_of(preset: str = "balanced") -> dict[str, object]:
    host = SimpleNamespace(plan=PRESETS[preset].plan)
    return resolved_plan(SimpleNamespace(name="fake", runtime=CPU, host=host))


def test_a_plan_holds_what_a_repetition_needs() -> None:
    plan = json.loads(json.dumps(plan_of()))
    assert plan["memory_plan"] == dataclasses.asdict(PRESETS["balanced"].plan)
    assert plan["memory_plan"]["budget"] == 5 * GIB // 2 and plan["memory_plan"]["graphs"] == "auto"
    known = {"model": "fake", "preset": "balanced", "spconv_algo": "native", "torch": torch.__version__}
    known |= {"device": "cpu", "precision": "float32", "attention": None, "sparse_conv": None, "rasterizer": "builtin"}
    known |= {"residency": "budget"}
    assert {name: plan[name] for name in known} == known
    assert resolved_plan(object()) == {}


@pytest.mark.parametrize(("asked", "given"), [("prototype", "prototype"), ("auto", "fastest")])
def test_an_opened_pipeline_knows_its_preset(asked: str, given: str) -> None:
    pipeline = open_pipeline(model="nano", device="cpu", offline=True, preset=asked)
    assert resolved_plan(pipeline)["preset"] == given and pipeline.host.plan == PRESETS[given].plan


def test_without_a_card_there_is_one_figure_of_memory() -> None:
    plan = plan_of()
    assert plan["peak_device_memory"] is None and isinstance(plan["peak_memory"], int)
    assert peak_memory_line(CPU) == f"Peak memory {plan['peak_memory'] / GIB:.2f} GiB."


@pytest.mark.usefixtures("card")
def test_a_card_s_memory_is_told_beside_ram() -> None:
    plan = plan_of()
    assert (plan["free_memory"], plan["peak_device_memory"], plan["device_name"]) == (12 * GIB, 3 * GIB, "Card")
    assert isinstance(plan["peak_memory"], int)
    ram = f"RAM {plan['peak_memory'] / GIB:.2f} GiB."
    line = "Peak memory 3.00 GiB allocated on Card, of which all programs now use 4.00 GiB; "
    assert peak_memory_line(CPU) == line + ram
