"""Encoders under their published names: found beside the decoders, fetched at their first use, their size stated."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from tests.unit.encoding.meshes import sphere
from tests.unit.families.hub_server import FakeHub, serving
from trellis.errors import FetchError
from trellis.families import registry
from trellis.families.trellis_family import ENCODERS, NANO_FOLDER, PUBLISHED, TRELLIS
from trellis.models.pipeline_config import PipelineConfig
from trellis.pipeline import ImageTo3D
from trellis.progress import Progress, StepInfo
from trellis.runtime import Runtime

MODEL = "TRELLIS-image-large"
REPOSITORY = f"microsoft/{MODEL}"
NAMES = {
    "sparse_structure_decoder": "ss_dec_conv3d_16l8_fp16",
    "slat_decoder_mesh": "slat_dec_mesh_swin8_B_64l8m256c_fp16",
}


def published_layout(folder: Path, *, encoders: bool) -> Path:
    """The embedded model with the published names of files, with its encoders or without them."""
    folder.mkdir(parents=True)
    content = json.loads((NANO_FOLDER / "pipeline.json").read_text(encoding="utf-8"))
    models: dict[str, str] = content["args"]["models"]
    for role, stem in list(models.items()):
        name = f"ckpts/{NAMES.get(role, role)}"
        models[role] = name
        copied(NANO_FOLDER / stem, folder / name)
    for role, encoder in ENCODERS.items():
        if encoders:
            copied(NANO_FOLDER / "encoders" / role, folder / "ckpts" / encoder.name)
    (folder / "image_encoder").symlink_to(NANO_FOLDER / "image_encoder")
    (folder / "pipeline.json").write_text(json.dumps(content))
    return folder


def copied(stem: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for ending in (".json", ".safetensors"):
        target.with_name(target.name + ending).symlink_to(stem.with_name(stem.name + ending))


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mesh") / "ball.ply"
    sphere(2).export(path)
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setattr(registry, "FAMILIES", (dataclasses.replace(TRELLIS, published={MODEL: PUBLISHED[MODEL]}),))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    files = {
        f"ckpts/{encoder.name}{ending}": (NANO_FOLDER / "encoders" / f"{role}{ending}").read_bytes()
        for role, encoder in ENCODERS.items()
        for ending in (".json", ".safetensors")
    }
    with serving(FakeHub({REPOSITORY: files})) as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        yield running


def test_they_are_found_beside_the_decoders(tmp_path: Path, ball: Path) -> None:
    folder = published_layout(tmp_path / "model", encoders=True)
    pipeline = ImageTo3D.from_pretrained(folder, runtime=Runtime(offline=True))
    assert "encode" in pipeline.operations
    found = pipeline.load_mesh(ball)
    same = ImageTo3D.from_pretrained("nano", runtime=Runtime(offline=True)).load_mesh(ball)
    assert torch.equal(found.latent, same.latent)


@pytest.mark.parametrize("repository", ["", f"{REPOSITORY}/"])
def test_they_are_fetched_at_their_first_use(repository: str, hub: FakeHub, tmp_path: Path, ball: Path) -> None:
    """Also for a model whose networks are in another's repository, as those for texts are."""
    models = tmp_path / "models"
    folder = published_layout(models / (MODEL if not repository else "mine"), encoders=False)
    if repository:
        content = json.loads((folder / "pipeline.json").read_text())
        for role in NAMES:
            stem = content["args"]["models"][role]
            content["args"]["models"][role] = repository + stem
            copied(folder / stem, (folder / repository / stem))
        (folder / "pipeline.json").write_text(json.dumps(content))
    runtime = Runtime(model_folder=models)
    pipeline = ImageTo3D.from_pretrained(folder, runtime=runtime)
    assert "encode" in pipeline.operations and not hub.asked
    told: list[StepInfo] = []
    pipeline.load_mesh(ball, progress=Progress(told.append))
    encoder = f"ckpts/{ENCODERS['slat_encoder'].name}"
    assert (folder / repository / f"{encoder}.safetensors").is_file()
    fetched = [info for info in told if info.stage == "download"]
    size = len(hub.repositories[REPOSITORY][f"{encoder}.safetensors"])
    assert fetched[-1].step == fetched[-1].total == max(1, size // 10**6)
    asked = len(hub.asked)
    again = ImageTo3D.from_pretrained(folder, runtime=Runtime(offline=True, model_folder=models))
    again.load_mesh(ball)
    assert len(hub.asked) == asked


def test_their_size_is_stated_where_they_cannot_be_had(tmp_path: Path, ball: Path) -> None:
    folder = published_layout(tmp_path / "model", encoders=False)
    pipeline = ImageTo3D.from_pretrained(folder, runtime=Runtime(offline=True))
    with pytest.raises(FetchError, match=r"slat_encoder \(173 MB\) of .*offline mode"):
        pipeline.load_mesh(ball)


def test_a_model_with_other_decoders_has_none(tmp_path: Path) -> None:
    folder = published_layout(tmp_path / "model", encoders=False)
    path = folder / "pipeline.json"
    path.write_text(path.read_text().replace("slat_dec_mesh_swin8_B_64l8m256c_fp16", "slat_dec_mesh_other"))
    assert PipelineConfig.read(path)
    assert TRELLIS.describe(path).operations == ("generate", "variant", "retexture")


def test_a_text_model_without_an_image_encoder_edits_but_cannot_encode(tmp_path: Path) -> None:
    path = published_layout(tmp_path / "model", encoders=False) / "pipeline.json"
    content = json.loads(path.read_text())
    del content["args"]["image_cond_model"]
    content["args"]["text_cond_model"] = "clip"
    path.write_text(json.dumps(content))
    assert TRELLIS.describe(path).operations == ("generate", "variant", "retexture", "edit")
