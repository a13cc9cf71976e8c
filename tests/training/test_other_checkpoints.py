"""Roles that name other folders and repositories (few-step checkpoints, say): by the command line, by a request."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from trellis import Runtime
from trellis.app.generation import generate_files
from trellis.app.request import GenerationRequest
from trellis.cli import main
from trellis.families.catalogue import list_models
from trellis.models import load_model, save_model
from trellis.opening import open_model
from trellis.progress import Progress

PICTURE = Path(__file__).resolve().parents[2] / "assets" / "example_image" / "lighthouse.png"
FLOW = "sparse_structure_flow_model"


@pytest.fixture
def models(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models: `lab/base` whole; `fast` a flow alone; `mixed` a pipeline.json that borrows from both."""
    folder = tmp_path / "models"
    shutil.copytree(model, folder / "lab" / "base")
    flow = load_model(model / "ckpts" / FLOW)
    with torch.no_grad():
        flow.get_parameter("out_layer.bias").add_(0.125)
    save_model(flow, folder / "fast" / "ckpts" / "flow_1step")
    content = json.loads((model / "pipeline.json").read_text())
    args = content["args"]
    args["models"] = {role: f"lab/base/{stem}" for role, stem in args["models"].items()}
    args["models"][FLOW] = "../fast/ckpts/flow_1step"
    for sampler in ("sparse_structure_sampler", "slat_sampler"):
        args[sampler]["params"]["steps"] = 1
    shutil.copytree(model / "image_encoder", folder / "mixed" / "image_encoder")
    (folder / "mixed" / "pipeline.json").write_text(json.dumps(content))
    monkeypatch.setenv("TRELLIS_MODELS", str(folder))
    return folder


def test_by_the_command_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    options = ["--offline", "--device", "cpu", "--formats", "ply", "--output", str(output)]
    assert main(["generate", str(PICTURE), "--model", "mixed", *options]) == 0, capsys.readouterr().err
    assert [path.suffix for path in output.iterdir()] == [".ply"]


def test_by_a_request(models: Path, tmp_path: Path) -> None:
    runtime = Runtime.detect(device="cpu", offline=True)
    assert "mixed" in [entry.name for entry in list_models(runtime)]
    pipeline = open_model("mixed", runtime=runtime)
    steps: list[str] = []
    progress = Progress(lambda info: steps.append(info.stage))
    request = GenerationRequest(formats=("ply",))
    outcome = generate_files(
        pipeline, [PICTURE], request=request, folder=tmp_path / "out", keep=False, progress=progress
    )
    assert [path.suffix for path in outcome.files.values()] == [".ply"]
    with pipeline.host.on_device(FLOW) as flow:
        assert torch.equal(flow.out_layer.bias, load_model(models / "fast" / "ckpts" / "flow_1step").out_layer.bias)
    assert pipeline.config.structure_sampler.steps == 1 and 0 < steps.count("structure") <= 2
