"""The ways of removing a background: what is offered, and what is fetched for them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trellis.app.picture_reader import PictureReader, ReadPicture
from trellis.app.ui import cutouts
from trellis.app.ui.cutouts import CutoutTable, must_fetch, offered_ways
from trellis.conditioning.matting import GRABCUT_NOTE
from trellis.errors import FetchError, TrellisError
from trellis.runtime import ModelFiles

NETWORK = ("Network (u2net)", "rembg")


@pytest.fixture(autouse=True)
def rembg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network is not here."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))


def test_a_label_says_what_is_fetched(tmp_path: Path) -> None:
    assert must_fetch("rembg") and not must_fetch("auto")
    assert ("Network (u2net) · 0.2 GB to fetch", "rembg") in offered_ways(ModelFiles())
    assert [way for _, way in offered_ways(ModelFiles(offline=True))] == ["auto", "grabcut", "alpha", "whole"]
    (tmp_path / "u2net").mkdir()
    (tmp_path / "u2net" / "u2net.onnx").write_bytes(b"weights")
    assert not must_fetch("rembg")
    assert NETWORK in offered_ways(ModelFiles()) and NETWORK in offered_ways(ModelFiles(offline=True))


def test_the_network_is_fetched_when_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ModelFiles]] = []

    def get_model(name: str, *, runtime: ModelFiles) -> Any:
        asked.append((name, runtime))
        raise FetchError("u2net is not to be had")

    monkeypatch.setattr(cutouts, "get_model", get_model)
    picture = Image.new("RGB", (64, 64), (230, 230, 235))
    picture.paste((200, 40, 30), (20, 20, 44, 44))
    reader = PictureReader(tmp_path / "uploads")
    reader.folder.mkdir()
    picture.save(reader.folder / "a.png")
    paths, files = [str(reader.folder / "a.png")], ModelFiles()

    def cut_out(files: ModelFiles, way: str) -> list[ReadPicture]:
        with ThreadPoolExecutor(1) as thread:  # the browser tests' loop may run in this one
            return thread.submit(asyncio.run, CutoutTable(reader, files).cut_out(paths, way)).result()

    try:
        [cutout] = cut_out(files, "auto")
        red, _, _, alpha = Image.open(cutout.path).getpixel((32, 32))
        assert red == 200 and alpha > 250
        assert Image.open(cutout.path).getpixel((4, 4))[3] == 0
        assert cutout.thumbnail.startswith("data:image/png;base64,") and "GrabCut" in cutout.notes[0]
        assert asked == []
        with pytest.raises(FetchError, match="not to be had"):
            cut_out(files, "rembg")
        assert asked == [("u2net", files)]
        with pytest.raises(TrellisError, match="offline"):
            cut_out(ModelFiles(offline=True), "rembg")
        assert len(asked) == 1
    finally:
        reader.close()


def test_the_remark_on_a_cut_out_speaks_of_the_page(tmp_path: Path) -> None:
    panel = cutouts.cutouts_panel([ReadPicture(tmp_path / "a.png", (GRABCUT_NOTE,))])
    assert "models get" not in panel and "under Background removal" in panel
