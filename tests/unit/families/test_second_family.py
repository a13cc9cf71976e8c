"""A second, tiny family of models: a coloured cube for every picture, known to the program by its line in the registry.

Its models are folders with a `tiny.json`, {"color": [r, g, b]}.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh

from trellis import cli
from trellis.app.generation import generate_files
from trellis.app.jobs import KEPT_FILE
from trellis.app.model_choices import offered_models
from trellis.app.models_command import models_lines
from trellis.app.request import GenerationRequest
from trellis.app.worker import resolved_plan
from trellis.app.worker_process import PipelineSource
from trellis.asset import Asset
from trellis.errors import CheckpointError, InvalidInputError
from trellis.families import registry
from trellis.families.family import GENERATE, PICTURES, TEXT, ModelDescription, ModelFamily, PublishedModel
from trellis.families.location import ModelLocation
from trellis.memory import MemoryPlan, ModelHost
from trellis.opening import Pipeline, open_model
from trellis.pipeline import ImageTo3D
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh
from trellis.runtime import ModelFiles, Runtime
from trellis.stages import Stage

CORNERS = torch.cartesian_prod(*[torch.tensor([-0.25, 0.25])] * 3)
FILES = ("stl", "ply")


class CubePipeline:
    """An opened model: pictures in, the cube in the colour of `tiny.json` out."""

    is_demo = False
    inputs: tuple[str, ...] = (PICTURES,)
    operations: tuple[str, ...] = (GENERATE,)
    representations: tuple[str, ...] = ("gaussians", "mesh")

    def __init__(self, location: ModelLocation, runtime: Runtime, plan: MemoryPlan | None) -> None:
        self.name, self.runtime = location.name, runtime
        self.host = ModelHost({}, device=runtime.device, plan=plan)
        self.color = torch.tensor(read(location.description))

    def __call__(self, source: Any, *, representations: Sequence[str], progress: Progress | None, **_: Any) -> Asset:
        hull = trimesh.convex.convex_hull(CORNERS.numpy())
        one = torch.ones(8, 1)
        mesh = Mesh(
            torch.tensor(hull.vertices).float(), torch.tensor(hull.faces).int(), self.color.expand(8, 3).contiguous()
        )
        rotations = torch.tensor([[1.0, 0, 0, 0]]).expand(8, 4).contiguous()
        cloud = GaussianCloud(mesh.vertices, (self.color - 0.5).repeat(8, 1), 0.1 * one.repeat(1, 3), rotations, one)
        assert progress is not None
        for _step in progress.steps(Stage.DECODE, 1):
            made = {"gaussians": cloud, "mesh": mesh}
        notes = (f"{len(source)} pictures seen.",)
        return Asset(
            gaussians=made["gaussians"] if "gaussians" in representations else None,  # type: ignore[arg-type]
            mesh=made["mesh"] if "mesh" in representations else None,  # type: ignore[arg-type]
            radiance_field=None,
            coords=torch.zeros(1, 3, dtype=torch.int32),
            latent=torch.zeros(1, 8),
            resolution=1,
            prepared=(),
            notes=notes,
        )

    def load_asset(self, path: str | Path) -> Asset:
        return Asset.load(path, device=self.runtime.device)


def read(path: Path) -> list[float]:
    try:
        return [float(value) for value in json.loads(path.read_text())["color"]]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} states no color.") from error


def describe(path: Path) -> ModelDescription:
    read(path)
    return ModelDescription((PICTURES,), (GENERATE,), CubePipeline.representations)


def open_cube(location: ModelLocation, *, runtime: Runtime, plan: MemoryPlan | None) -> Pipeline:
    return CubePipeline(location, runtime, plan)


TINY = ModelFamily(
    description_file="tiny.json",
    describe=describe,
    opener=f"{__name__}:open_cube",
    published={"Cubes": PublishedModel(("somebody/Cubes",), 3_000_000_000, (TEXT,))},
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with one of the family, which the program then knows."""
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, TINY))
    monkeypatch.setenv("TRELLIS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "models" / "red"
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text('{"color": [1, 0, 0]}')
    return tmp_path / "models"


@pytest.fixture
def picture() -> Path:
    return Path(__file__).parents[1] / "app" / "picture.png"


def test_its_models_are_listed_and_offered(models: Path) -> None:
    files = ModelFiles(model_folder=models)
    lines = {line.split()[0]: line for line in models_lines(files)}
    assert lines["red"].endswith(f"here: {models / 'red'}") and "3.0 GB" in lines["somebody/Cubes"]
    assert {"nano", "microsoft/TRELLIS-image-large", "DINOv2"} <= set(lines)
    offered = {choice.name: choice for choice in offered_models("nano", files)}
    assert not offered["red"].takes_text and offered["red"].fetch_bytes == 0
    assert offered["somebody/Cubes"].takes_text and offered["somebody/Cubes"].fetch_bytes == 3_000_000_000


def test_the_command_line_generates_with_it(models: Path, picture: Path, tmp_path: Path) -> None:
    command = ["generate", str(picture), "--model", "red", "--device", "cpu", "--offline"]
    assert cli.main([*command, "--simplify", "0", "--formats", ",".join(FILES), "--output", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["picture.ply", "picture.stl"]
    cube = trimesh.load(tmp_path / "out" / "picture.stl")
    assert cube.is_watertight and min(cube.extents) == pytest.approx(max(cube.extents), rel=1e-3)


def test_a_worker_opens_it_and_carries_a_job_out(models: Path, picture: Path, tmp_path: Path) -> None:
    module, _, function = PipelineSource().function.partition(":")
    opened: Pipeline = getattr(import_module(module), function)(
        model="red", device="cpu", offline=True, preset="minimal", progress=Progress()
    )
    assert isinstance(opened, CubePipeline) and resolved_plan(opened)["residency"] == "offload"
    request = GenerationRequest(formats=FILES)
    outcome = generate_files(opened, [picture], request=request, folder=tmp_path, keep=True, progress=Progress())
    assert set(outcome.files) == set(FILES) and outcome.notes == ("1 pictures seen.",)
    assert opened.load_asset(tmp_path / KEPT_FILE).mesh is not None


def test_what_it_does_not_take_or_make_is_refused(models: Path, picture: Path, tmp_path: Path) -> None:
    opened = open_model("red", runtime=Runtime(model_folder=models))
    for source, options, words in (
        ("a red cube", {}, "red takes pictures, no text"),
        ([picture], {"formats": ["radiance_field"]}, "red makes no radiance_field"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            generate_files(opened, source, request=GenerationRequest(**options), folder=tmp_path)
    opened.operations = ("retexture",)
    with pytest.raises(InvalidInputError, match="red cannot generate"):
        generate_files(opened, [picture], request=GenerationRequest(), folder=tmp_path)
    with pytest.raises(CheckpointError, match="red takes pictures: it cannot be opened as ImageTo3D"):
        ImageTo3D.from_pretrained("red", runtime=Runtime(model_folder=models))


def test_a_folder_of_no_family_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(
        CheckpointError, match=r"none is no model folder: it has no pipeline.json or config.yaml or tiny.json"
    ):
        open_model(tmp_path / "none", runtime=Runtime(model_folder=models))
    (models / "red" / "tiny.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tiny.json states no color"):
        open_model("red", runtime=Runtime(model_folder=models))
