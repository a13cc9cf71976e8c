"""A licence is accepted by name before a model is listed as usable, fetched or run; what is made says whose it is."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
import yaml

from tests.contract.sources import python_files
from tests.unit.export.textured_samples import textured_box
from tests.unit.families.hub_server import FakeHub, serving
from tests.unit.families.test_hunyuan_config import published
from trellis import cli
from trellis.app.generation import generate_files
from trellis.app.job_sources import Models
from trellis.app.model_choices import offered_models
from trellis.app.models_command import model_state
from trellis.app.request import EditRequest, EncodeRequest, VariantRequest
from trellis.asset import Asset
from trellis.dataset.meshes import training_mesh
from trellis.encoding.load import load_mesh
from trellis.errors import STARTER, CheckpointError, FetchError, InvalidInputError, LicenceError
from trellis.export.glb import write_glb
from trellis.families import acquire, registry
from trellis.families.catalogue import list_models, model_licence, model_refusal, resolve_model
from trellis.families.hunyuan_family import HUNYUAN, LICENCE
from trellis.families.licences import LICENCES_FILE, accept_licence, accepted_on
from trellis.opening import open_model
from trellis.runtime import ModelFiles, Runtime

NAME, SUBFOLDER, DECODER = "Hunyuan3D-2-turbo", "hunyuan3d-dit-v2-0-turbo", "hunyuan3d-vae-v2-0-turbo"
WEIGHTS = "model.fp16.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The repository of many models, of which two folders are wanted."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    config = yaml.safe_dump(published()).encode()
    files = {f"{SUBFOLDER}/config.yaml": config, f"{SUBFOLDER}/{WEIGHTS}": bytes(3000)}
    files |= {f"{DECODER}/config.yaml": b"vae: 1", f"{DECODER}/{WEIGHTS}": bytes(2000)}
    files |= {f"{SUBFOLDER}/model.fp16.ckpt": bytes(9000), "hunyuan3d-paint-v2-0/x.bin": bytes(9000)}
    with serving(FakeHub({"tencent/Hunyuan3D-2": files, "somebody/mirror": {"config.yaml": config}})) as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        yield running


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    return ModelFiles(model_folder=tmp_path / "models")


def local_model(files: ModelFiles, name: str = "mine") -> Path:
    """A folder of the user's own in the published layout."""
    assert files.model_folder is not None
    folder = files.model_folder / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(published()), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(bytes(10))
    return folder


def test_nothing_is_fetched_before_it_is_accepted(hub: FakeHub, files: ModelFiles) -> None:
    for name in (NAME, DECODER):
        with pytest.raises(LicenceError, match=r"European Union.*train.*one million.*models get --accept-licence"):
            acquire.get_model(name, runtime=files)
    assert not hub.asked and hub.sent == 0
    [state] = [model_state(entry, files) for entry in list_models(files) if entry.name == NAME]  # doctor says so too
    assert state.startswith("can be fetched") and state.endswith(f"once {LICENCE.title} is accepted")
    with pytest.raises(LicenceError):  # also where only the files say whose it is
        acquire.get_model("somebody/mirror", runtime=files)
    assert hub.sent == 0 and not (files.model_folder or Path()).exists()


def test_what_is_fetched_is_two_files_and_the_decoder_and_the_record_says_when(
    hub: FakeHub, files: ModelFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.model_folder is not None
    monkeypatch.setenv("TRELLIS_MODELS", str(files.model_folder))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert cli.main(["models", "get", NAME, "--accept-licence", NAME]) == 0
    assert LICENCE.title in capsys.readouterr().out
    found = {path.relative_to(files.model_folder).as_posix() for path in files.model_folder.rglob("*.*")}
    model = {f"{NAME}/{name}" for name in ("config.yaml", WEIGHTS, "trellis-download.json")}
    assert found == model | {f"{DECODER}/config.yaml", f"{DECODER}/{WEIGHTS}", LICENCES_FILE}
    assert hub.sent < 9000
    record = json.loads((files.model_folder / NAME / "trellis-download.json").read_text(encoding="utf-8"))
    kept = json.loads((files.model_folder / LICENCES_FILE).read_text(encoding="utf-8"))
    assert record == {
        "repository": "tencent/Hunyuan3D-2",
        "licence": LICENCE.title,
        "accepted": kept[LICENCE.name]["accepted"],
    }
    assert kept[LICENCE.name]["accepted"] == accepted_on(LICENCE, files)
    location = resolve_model(NAME, runtime=files)
    assert location.family is HUNYUAN and location.describe().presets == "hunyuan-turbo"
    listed = {entry.name: entry for entry in list_models(files)}
    assert listed[NAME].location == location.folder and listed["Hunyuan3D-2"].location is None
    assert DECODER not in listed and listed["Hunyuan3D-2"].size_bytes == HUNYUAN.published["Hunyuan3D-2"].size_bytes


def test_acceptance_by_a_name_that_is_none(files: ModelFiles) -> None:
    with pytest.raises(InvalidInputError, match=f"no licence 'tencent'; known: {LICENCE.name}"):
        accept_licence("tencent", files)
    assert accept_licence(LICENCE.name, files) is LICENCE and accept_licence(NAME, files) is LICENCE
    assert files.model_folder is not None
    (files.model_folder / LICENCES_FILE).write_text("[1")  # damaged: nobody has accepted anything
    assert accepted_on(LICENCE, files) is None
    assert model_licence("nano", files) is None and model_refusal("nano", files) is None


def test_a_repository_of_several_models_is_no_model(files: ModelFiles) -> None:
    for ask in (lambda name: acquire.get_model(name, runtime=files), lambda name: resolve_model(name, runtime=files)):
        with pytest.raises(CheckpointError, match="holds several models: name one of them, Hunyuan3D-2-turbo, Hun"):
            ask("tencent/Hunyuan3D-2")


def test_a_local_folder_is_a_model_and_is_opened_only_once_accepted(files: ModelFiles) -> None:
    local_model(files)
    choices = {choice.name: choice for choice in offered_models("nano", files)}
    assert choices["mine"].options == ("surface_resolution", "texture_model")
    assert choices["mine"].licence == choices[NAME].licence == LICENCE.title
    with pytest.raises(LicenceError, match="mine is under the Tencent"):
        open_model("mine", runtime=Runtime(model_folder=files.model_folder))
    models = Models(("mine", "nano"), refusal=lambda name: model_refusal(name, files))
    assert models.default_of(prompts=False) == "nano"  # never unasked
    with pytest.raises(LicenceError):
        models.choose("mine", prompt=None, pictures=1)
    accept_licence(LICENCE.name, files)
    assert models.choose(None, prompt=None, pictures=1) == "mine"


def test_folders_that_are_no_models_are_told_of_in_words(files: ModelFiles) -> None:
    folder = local_model(files, "broken")
    (folder / WEIGHTS).rename(folder / "model.fp16.ckpt")
    accept_licence(LICENCE.name, files)
    assert "broken" not in {entry.name for entry in list_models(files)}
    runtime = Runtime(model_folder=files.model_folder)
    with pytest.raises(CheckpointError, match="can run programs and are not read"):
        open_model("broken", runtime=runtime)
    (folder / "model.fp16.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"model\.fp16\.safetensors is missing"):
        open_model("broken", runtime=runtime)
    (folder / "config.yaml").write_text("model: [", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be read as YAML"):
        open_model("broken", runtime=runtime)
    with pytest.raises(FetchError, match=f"{re.escape(STARTER)} models get {NAME}"):
        resolve_model(NAME, runtime=dataclasses.replace(files, offline=True)).describe()


def test_the_notice_is_in_files_and_kept_assets_and_training_refuses_them(tmp_path: Path) -> None:
    marked = write_glb(textured_box(), tmp_path / "marked.glb", notice=LICENCE.notice)
    data = marked.read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert document["asset"]["extras"] == {"notice": "Powered by Tencent Hunyuan"}
    assert load_mesh(marked).notice == LICENCE.notice
    with pytest.raises(LicenceError, match=r"marked.glb says 'Powered by Tencent Hunyuan'.*Take it out of the data"):
        training_mesh(marked)
    plain = write_glb(textured_box(), tmp_path / "plain.glb")
    assert training_mesh(plain).notice == "" and b"extras" not in plain.read_bytes()[:200]
    asset = Asset(None, None, None, torch.zeros(1, 3), torch.zeros(1, 8), 1, (), notice=LICENCE.notice)
    assert Asset.load(asset.store(tmp_path / "kept.safetensors")).notice == LICENCE.notice
    assert asset.file_sources.notice == LICENCE.notice


def test_every_licence_of_the_registry_says_three_things() -> None:
    for licence in registry.licences().values():
        assert len(licence.terms) == 3 and all(term.endswith(".") for term in licence.terms)


def test_what_is_made_of_a_marked_asset_is_marked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Asset(None, None, None, torch.zeros(1, 3), torch.zeros(1, 8), 1, ())
    source = dataclasses.replace(bare, notice=LICENCE.notice).store(tmp_path / "source.safetensors")
    monkeypatch.setattr(Asset, "save", lambda *_, **__: {})

    class Editor:
        """Makes an asset without a notice of whatever it is given."""

        name, inputs, operations = "editor", ("pictures",), ("variant", "edit", "encode")
        representations, options, notice, runtime = ("gaussians", "mesh"), (), "", None
        load_asset = staticmethod(Asset.load)

        def variant(self, *_: object, **__: object) -> Asset:
            return bare

        edit = represented = variant

    for request in (VariantRequest(), EditRequest(box=[[[0, 0, 0], [1, 1, 1]]]), EncodeRequest()):
        outcome = generate_files(Editor(), [], request=request, folder=tmp_path, asset=source)  # type: ignore[arg-type]
        assert outcome.notice == LICENCE.notice, request.operation


def test_training_reads_meshes_by_one_door() -> None:
    """Files that training makes itself (`evaluate_encoding`) are the only ones that a model reads for it unasked."""
    for path in python_files("trellis/training", "trellis/dataset"):
        text = path.read_text(encoding="utf-8")
        by_door = text.count(".load_mesh(mesh,") if "mesh = training_mesh(" in text else 0  # what the door has read
        asked = text.count(".load_mesh(") - by_door == text.count("refuse_marked(")
        asked = asked or path.name == "evaluate_encoding.py"
        alone = asked and "import load_mesh" not in text and "Asset.load(" not in text
        assert alone or path.name == "meshes.py", path
