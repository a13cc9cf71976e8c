"""Which models people can choose from, and how much each fetches."""

from pathlib import Path

import pytest

from trellis.app.model_choices import ModelChoice, offered_models
from trellis.families.registry import published_models
from trellis.families.trellis_family import SUPPORTING
from trellis.runtime import ModelFiles

IMAGE, TEXT = "microsoft/TRELLIS-image-large", "microsoft/TRELLIS-text-base"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def offered(folder: Path, *, offline: bool = False) -> dict[str, ModelChoice]:
    return {choice.name: choice for choice in offered_models("nano", ModelFiles(offline, folder))}


def test_what_is_fetched_includes_what_reads_pictures_and_texts(tmp_path: Path) -> None:
    models = offered(tmp_path)
    assert next(iter(models)) == "nano" and len(models) == 1 + len(published_models())
    assert models[IMAGE] == ModelChoice(
        IMAGE,
        "TRELLIS-image-large · 4.2 GB to fetch",
        fetch_bytes=3_006_922_800 + SUPPORTING["DINOv2"].size_bytes,
        licence="MIT",
    )
    assert models[TEXT].label == "TRELLIS-text-base · 2.4 GB to fetch" and models[TEXT].takes_text
    encoder = tmp_path / SUPPORTING["DINOv2"].repositories[0]
    encoder.mkdir(parents=True)
    (encoder / "model.safetensors").write_bytes(b"weights")
    assert offered(tmp_path)[IMAGE].fetch_bytes == 3_006_922_800
    assert offered(tmp_path)[TEXT].fetch_bytes == models[TEXT].fetch_bytes


def test_offline_only_what_is_here_is_offered(tmp_path: Path) -> None:
    assert list(offered(tmp_path, offline=True)) == ["nano"]
