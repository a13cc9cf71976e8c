"""The ways of removing a background: what is offered, and what is fetched for them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trellis.app.ui import cutouts
from trellis.app.ui.cutouts import CutoutTable, must_fetch, offered_ways
from trellis.errors import CheckpointError, TrellisError
from trellis.runtime import ModelFiles

NETWORK = ("Network (u2net)", "rembg")


@pytest.fixture(autouse=True)
def rembg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network is not here."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))


def test_a_label_says_what_is_fetched(tmp_path: Path) -> None:
    assert must_fetch("rembg") and not must_fetch("auto")
    assert ("Network (u2net) · 0.2 GB to fetch", "rembg") in offered_ways(ModelFiles())
    assert [way for _, way in offered_ways(ModelFiles(offline=True))] == ["auto", "grabcut", "alpha"]
    (tmp_path / "u2net").mkdir()
    (tmp_path / "u2net" / "u2net.onnx").write_bytes(b"weights")
    assert not must_fetch("rembg")
    assert NETWORK in offered_ways(ModelFiles()) and NETWORK in offered_ways(ModelFiles(offline=True))


def test_the_network_is_fetched_when_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ModelFiles]] = []

    def get_model(name: str, *, runtime: ModelFiles) -> Any:
        asked.append((name, runtime))
        raise CheckpointError("u2net is not to be had")

    monkeypatch.setattr(cutouts, "get_model", get_model)
    picture = Image.new("RGB", (64, 64), (230, 230, 235))
    picture.paste((200, 40, 30), (20, 20, 44, 44))
    picture.save(tmp_path / "a.png")
    paths, files = [str(tmp_path / "a.png")], ModelFiles()
    CutoutTable(files).cut_out("page", paths, "auto")
    assert asked == []
    with pytest.raises(CheckpointError, match="not to be had"):
        CutoutTable(files).cut_out("page", paths, "rembg")
    assert asked == [("u2net", files)]
    with pytest.raises(TrellisError, match="offline"):
        CutoutTable(ModelFiles(offline=True)).cut_out("page", paths, "rembg")
    assert len(asked) == 1
