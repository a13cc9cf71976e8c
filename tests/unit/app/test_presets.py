"""The table of presets, and what `auto` makes of a machine."""

import pytest
import torch

from trellis.app import presets
from trellis.app.presets import BY_MEMORY, PRESET_NAMES, PRESETS, TABLES, choose_preset
from trellis.app.request import GenerationRequest, read_request
from trellis.cli import build_parser, main, request_from
from trellis.errors import InvalidInputError
from trellis.families.acquire import obtain_model
from trellis.memory import GIB
from trellis.runtime import PRECISIONS, Runtime

CPU = Runtime(device=torch.device("cpu"))


def test_the_table_is_complete_and_valid() -> None:
    assert set(PRESET_NAMES) == {"minimal", "balanced", "sequential", "fastest", "prototype", "auto"}
    for preset in PRESETS.values():
        assert preset.precision is None or preset.precision in PRECISIONS
        read_request(dict(preset.request))
    needs = [PRESETS[name].needs for name in BY_MEMORY]
    assert needs == sorted(needs, reverse=True)


@pytest.mark.parametrize(
    ("free", "expected"),
    [(80 * GIB, "fastest"), (6 * GIB, "balanced"), (4 * GIB, "sequential"), (3.2 * GIB, "minimal"), (1, "minimal")],
)
def test_auto_goes_by_free_memory(monkeypatch: pytest.MonkeyPatch, free: float, expected: str) -> None:
    monkeypatch.setattr(presets, "available_bytes", lambda device: int(free))
    assert choose_preset("auto", CPU) == expected


def test_names() -> None:
    assert choose_preset("auto", CPU) == "fastest"
    assert choose_preset("minimal", CPU) == "minimal"
    with pytest.raises(InvalidInputError, match="fastest, balanced, sequential, minimal, prototype, auto"):
        choose_preset("huge", CPU)


def test_the_command_line_takes_a_presets_values_and_stated_ones_before_them() -> None:
    command = ["generate", "a.png", "--preset", "prototype"]
    request = request_from(build_parser().parse_args([*command, "--latent-steps", "5"]))
    assert (request.structure_steps, request.latent_steps, request.texture_size) == (8, 5, 512)
    request = request_from(build_parser().parse_args([*command, "--steps", "6"]))
    assert (request.structure_steps, request.latent_steps) == (6, 6)
    request = request_from(build_parser().parse_args(["generate", "a.png"]))
    assert (request.structure_steps, request.texture_size) == (None, GenerationRequest().texture_size)


def test_doctor_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cpu", "--preset", "minimal", "--attention", "sdpa", "--offline"]) == 0
    printed = capsys.readouterr().out
    assert "preset minimal" in printed and "attention: sdpa" in printed
    assert main(["doctor", "--device", "cpu", "--memory-limit", "4"]) == 1
    assert "CUDA device only" in capsys.readouterr().err


@pytest.mark.parametrize("table", list(TABLES))
def test_every_family_has_the_same_presets_in_the_order_of_what_they_need(table: str) -> None:
    presets = TABLES[table]
    assert tuple(presets) == tuple(PRESETS)
    needs = [presets[name].needs for name in BY_MEMORY]
    assert needs == sorted(needs, reverse=True)
    for preset in presets.values():
        assert preset.plan.chunk_bytes > 0 and GenerationRequest(**preset.request)


def test_a_request_names_a_preset_and_each_family_reads_it_by_its_own_table() -> None:
    """A quick look: three steps of five and a surface of 128 for a Hunyuan3D model, eight steps for TRELLIS, and
    no more than the four that the embedded model makes anyway."""
    request = read_request(GenerationRequest(preset="prototype", seed=3).stated)
    own = request.under("prototype")
    shape, plain = (request.under("prototype", table) for table in ("hunyuan-turbo", "hunyuan"))
    assert [r.structure_steps for r in (own, shape, plain)] == [8, 3, 18]  # type: ignore[attr-defined]
    assert (own.surface_resolution, shape.surface_resolution) == (None, 128)  # type: ignore[attr-defined]
    few = request.under("prototype", obtain_model("nano", runtime=Runtime.detect()).describe().presets)
    assert (few.structure_steps, few.texture_size) == (None, 512)  # type: ignore[attr-defined]
    stated = GenerationRequest(preset="minimal", structure_steps=8).under("minimal", "hunyuan-turbo")
    assert (stated.structure_steps, stated.surface_resolution, stated.texture_size) == (8, 128, 1024)


def test_on_a_small_card_the_networks_share_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = TABLES["hunyuan-turbo"]["fastest"]
    for free, expected in ((12 * GIB, ("keep", None)), (8 * GIB, ("budget", 6 * GIB)), (None, ("keep", None))):
        monkeypatch.setattr(presets, "available_bytes", lambda device, free=free: free)
        plan = fastest.plan_on(CPU)
        assert (plan.residency, plan.budget) == expected
    monkeypatch.setattr(presets, "available_bytes", lambda device: 5 * GIB)
    assert choose_preset("auto", CPU, table="hunyuan-mini-turbo") == "fastest"
    assert choose_preset("auto", CPU, table="hunyuan-turbo") == "balanced"
    assert choose_preset("auto", CPU) == "sequential"
