"""A model's name means one model: the owner counts."""

import shutil
from pathlib import Path

import pytest

from trellis.app.model_choices import offered_models
from trellis.errors import FetchError, InvalidInputError
from trellis.families import acquire
from trellis.families.catalogue import resolve_model
from trellis.families.registry import published_name
from trellis.families.trellis_family import NANO_FOLDER
from trellis.progress import Progress
from trellis.runtime import ModelFiles

SHORT, FIRST, OTHER = "TRELLIS-image-large", "microsoft/TRELLIS-image-large", "somebody/TRELLIS-image-large"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFiles:
    """A folder of models in which the published one is."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / SHORT).mkdir()
    shutil.copy(NANO_FOLDER / "pipeline.json", tmp_path / SHORT)
    return ModelFiles(model_folder=tmp_path)


def test_another_owners_model_is_not_the_published_one(files: ModelFiles) -> None:
    assert files.model_folder is not None
    for name in (SHORT, FIRST):
        assert resolve_model(name, runtime=files).local == files.model_folder / SHORT
        assert published_name(name) == SHORT
    other = resolve_model(OTHER, runtime=files)
    assert other.local is None and other.repositories == (OTHER,) and published_name(OTHER) is None


def test_another_owners_model_is_fetched_from_its_owner(files: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(repository: str) -> None:
        asked.append(repository)
        raise FetchError(f"{repository}: there is none")

    monkeypatch.setattr(acquire, "list_repository", refuse)
    with pytest.raises(FetchError, match=r"somebody/TRELLIS-image-large cannot be had.*Did you mean microsoft/TRELLIS"):
        acquire.get_model(OTHER, runtime=files, progress=Progress())
    assert asked == [OTHER]
    with pytest.raises(InvalidInputError, match="Did you mean DINOv2"):
        acquire.get_model("dino2", runtime=files)


def test_the_owner_is_seen_where_models_are_chosen(files: ModelFiles) -> None:
    assert files.model_folder is not None
    shutil.copytree(files.model_folder / SHORT, files.model_folder / OTHER)
    labels = {choice.name: choice.label for choice in offered_models("nano", files)}
    assert labels[OTHER] == OTHER and labels[FIRST] == SHORT
