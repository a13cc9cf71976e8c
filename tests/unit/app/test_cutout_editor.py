"""What the server answers to the dialog in which an object is cut out by hand."""

import asyncio
import base64
import io
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from trellis.app.picture_reader import PictureReader
from trellis.app.ui.cutouts import CutoutTable, PictureError, refusal_panel
from trellis.app.ui.sections.cutout_editor import FILE_ADDRESS, CutoutEditor
from trellis.app.ui.studio import Studio
from trellis.runtime import ModelFiles

BOX = (0.1, 0.1, 0.5, 0.9)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutoutTable]:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
    reader = PictureReader(tmp_path / "uploads")
    reader.folder.mkdir()
    tiles = np.random.default_rng(5).integers(60, 200, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(tiles).resize((160, 160), Image.Resampling.NEAREST)
    picture.paste((250, 20, 20), (30, 40, 70, 120))
    picture.save(reader.folder / "a.png")
    yield CutoutTable(reader, ModelFiles())
    reader.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "uploads" / "a.png")


@pytest.fixture
def ask(table: CutoutTable, path: str) -> Callable[..., tuple[dict[str, Any], list[str] | None]]:
    editor = CutoutEditor(cast(Studio, types.SimpleNamespace(cutouts=table)))

    def _ask(message: Any, paths: list[str] | None = None) -> tuple[dict[str, Any], list[str] | None]:
        with ThreadPoolExecutor(1) as thread:  # the browser tests' loop may run in this one
            return thread.submit(asyncio.run, editor.answer(paths or [path], "auto", message)).result()

    return _ask


def cut_out(table: CutoutTable, paths: list[str], way: str) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, table.cut_out(paths, way)).result()


def strokes(size: tuple[int, int] = (80, 80)) -> str:
    """A green square in the right lower corner."""
    picture = Image.new("RGBA", size)
    picture.paste((0, 255, 0, 255), (60, 60, 70, 70))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def test_what_is_drawn_is_tried_used_and_there_when_it_is_opened_again(
    table: CutoutTable, path: str, ask: Callable[..., Any]
) -> None:
    with pytest.raises(PictureError, match=r"^a\.png: No object stands out") as refused:
        cut_out(table, [path], "auto")
    assert refused.value.index == 0
    answer, changed = ask({"number": 1, "order": "open", "index": 0})
    assert changed is None and answer.keys() == {"answer", "picture"}
    assert Image.open(answer["picture"].removeprefix(FILE_ADDRESS)).size == (160, 160)
    drawn = {"index": 0, "box": BOX, "strokes": strokes()}
    answer, changed = ask({"number": 2, "order": "try", **drawn})
    assert changed is None and answer["answer"] == 2
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"].split(",")[1]))))
    assert mask.shape == (160, 160) and mask[60:100, 40:60].min() > 200 and mask[125:135, 125:135].min() == 255
    assert mask[5, 5] == 0 and mask[80, 120] == 0

    answer, [made] = ask({"number": 3, "order": "use", **drawn})
    assert answer == {"answer": 3} and Path(made).name == "a.png" and made != path
    for way in ("auto", "grabcut", "alpha"):  # whatever is chosen for the others
        [cutout] = cut_out(table, [made], way)
        assert (np.asarray(Image.open(cutout.path).getchannel("A")) == mask).all()
    answer, _ = ask({"number": 4, "order": "open", "index": 0}, [made])
    assert answer["box"] == BOX and answer["strokes"] == strokes() and answer["whole"] is False
    assert Image.open(answer["picture"].removeprefix(FILE_ADDRESS)).mode == "RGB"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"index": 1}, "choose it again"),
        ({"index": -1}, "cannot be read"),
        ({"order": "delete"}, "cannot be read"),
        ({"path": "x"}, "cannot be read"),
        ({"box": [0, 0, 1]}, "cannot be read"),
        ({"box": [0, 0, "a", 1]}, "cannot be read"),
        ({"box": [0, 0, 5, 1]}, "The box is too small or outside"),
        ({"crop": [0.5, 0, 0.4, 1]}, "The crop is too small or outside"),
        ({"strokes": "x" * 600_000}, "cannot be read"),
        ({"strokes": "data:image/png;base64,AAAA"}, "cannot be read as a picture"),
        ({"strokes": "five!"}, "not base64"),
        ({"strokes": strokes((2000, 2000))}, "too large"),
    ],
)
def test_what_no_dialog_sends_is_refused(change: dict[str, Any], words: str, ask: Callable[..., Any]) -> None:
    answer, changed = ask({"number": 1, "order": "try", "index": 0} | change)
    assert words in answer["error"] and changed is None


@pytest.mark.parametrize("message", [None, "try", [], 7, {}])
def test_other_values_are_refused(message: Any, ask: Callable[..., Any]) -> None:
    assert "cannot be read" in ask(message)[0]["error"]


def test_a_refusal_offers_what_can_be_done() -> None:
    panel = refusal_panel("<No object>", 2, ModelFiles(offline=True))
    assert "&lt;No object&gt;" in panel and panel.count('data-cutout="2"') == 3 and "u2net" not in panel
