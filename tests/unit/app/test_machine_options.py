"""One table of the options that say where a model runs, for every command."""

from dataclasses import asdict, fields

import pytest

from trellis.app.machine_options import MachineOptions, open_pipeline
from trellis.app.serve import pipeline_source
from trellis.cli import build_parser
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.ops.rasterize import ADAPTERS, BACKENDS
from trellis.runtime import RASTERIZERS

WORDS = ["--model", "m/n", "--device", "cpu", "--precision", "full", "--offline", "--preset", "minimal"]
WORDS += [
    "--attention",
    "sdpa",
    "--sparse-conv",
    "spconv",
    "--rasterizer",
    "gsplat",
    "--memory-limit",
    "4.5",
    "--cudnn",
    "off",
]
STATED = MachineOptions("m/n", "cpu", "full", True, "minimal", "sdpa", "spconv", "gsplat", 4.5, "off")


@pytest.mark.parametrize("command", [["generate", "x"], ["batch", "x"], ["serve"], ["doctor"]])
def test_every_command_takes_them(command: list[str]) -> None:
    assert MachineOptions.from_arguments(build_parser().parse_args([*command, *WORDS])) == STATED
    assert MachineOptions.from_arguments(build_parser().parse_args(command)) == MachineOptions()


def test_they_reach_the_worker_process_of_the_server() -> None:
    arguments = build_parser().parse_args(["serve", *WORDS])
    assert pipeline_source(arguments, index=1).options == asdict(STATED) | {"index": 1}


def test_they_reach_the_runtime() -> None:
    runtime = MachineOptions(
        device="cpu", attention="sdpa", sparse_conv="spconv", rasterizer="gsplat", offline=True
    ).detect()
    assert (runtime.device.type, runtime.attention, runtime.sparse_conv) == ("cpu", "sdpa", "spconv")
    assert runtime.offline and runtime.rasterizer == "gsplat"
    with pytest.raises(InvalidInputError, match="nvdiffrast"):
        MachineOptions(device="cpu", rasterizer="opengl").detect()
    with pytest.raises(InvalidInputError, match="CUDA device only"):
        MachineOptions(device="cpu", memory_limit=4).detect()


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_rasterizer_that_is_not_here_is_refused_before_a_model_is_opened(name: str) -> None:
    with pytest.raises(MissingDependencyError, match=f"{name} is not installed"):
        open_pipeline(model="no such model", device="cpu", rasterizer=name)
    assert {*ADAPTERS, "builtin"} == set(RASTERIZERS) <= set(BACKENDS)


def test_nothing_else_says_where_a_model_runs() -> None:
    names = {field.name for field in fields(MachineOptions)}
    assert names == set(vars(build_parser().parse_args(["doctor"]))) - {"run", "verbose"}
