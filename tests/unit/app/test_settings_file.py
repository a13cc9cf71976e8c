"""Settings of the page as a file, and what is refused."""

import json
from pathlib import Path

import pytest

from tests.unit.app.test_handlers import BROWSER, AskedEngine, sections_of, settings
from trellis.app.model_choices import ModelChoice
from trellis.app.request import GenerationRequest
from trellis.app.ui.controls import SHOWN
from trellis.app.ui.sections.settings import stated_request
from trellis.app.ui.sections.settings_file import MOST_BYTES, WRONG_FILE, read_settings
from trellis.errors import InvalidInputError

NANO = ModelChoice("nano", "nano")


def test_what_is_saved_is_read_and_fills_the_controls_as_before(tmp_path: Path) -> None:
    parts = sections_of(AskedEngine())
    shown = settings(SHOWN, quality="high", latent_steps=7, formats=["glb", "stl"], double_sided=True)
    updates = parts.settings_file.save(BROWSER, "nano", True, 5, *shown)
    [text] = [value for value in updates.values() if isinstance(value, str)]
    path = tmp_path / "settings.json"
    path.write_text(text)
    model, request = read_settings(path)
    assert model == "nano" and request == stated_request(NANO, True, 5, *shown) and request.latent_steps == 7
    filled = parts.settings.put(request, keep_seed=True)
    assert stated_request(NANO, *(filled[control] for control in parts.settings.inputs)) == request


def test_the_record_of_a_result_is_read(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    request = GenerationRequest(seed=3, faces=9000)
    path.write_text(json.dumps({"model": "nano", "pictures": ["picture_0.png"], "options": request.to_dict()}))
    assert read_settings(path) == ("nano", request)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": 3}', "[" * 50_000, "\udc80", "x" * (MOST_BYTES + 1)])
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(InvalidInputError, match=WRONG_FILE):
        read_settings(path)


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"options": {"faces": -1}}')
    with pytest.raises(InvalidInputError, match="faces"):
        read_settings(path)


def test_a_file_elsewhere_is_not_opened(tmp_path: Path) -> None:
    engine = AskedEngine()
    engine.pictures = type("Pictures", (), {"folder": tmp_path / "uploads"})()
    parts = sections_of(engine)
    (tmp_path / "settings.json").write_text('{"options": {}}')
    updates = parts.settings_file.read(BROWSER, str(tmp_path / "settings.json"))
    assert list(updates) == [parts.progress.panel] and "not here" in updates[parts.progress.panel]
