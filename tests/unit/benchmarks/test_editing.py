"""The benchmark of edits runs all operations and writes what it measured."""

import json
from pathlib import Path

import pytest

from benchmarks import editing
from trellis.editing import edit, outline


def test_operations_are_measured_beside_a_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name, less in ((outline, "SHIFTS", [(0.0, 0.0)]), (edit, "NOISES", 1), (edit, "FIT_STEPS", 1)):
        monkeypatch.setattr(place, name, less)  # all of them take long on a 64^3 grid
    arguments = ["--device", "cpu", "--scale", "tiny", "--warm", "0", "--repeats", "1", "--steps", "1"]
    assert editing.main([*arguments, "--precision", "float32", "--output", str(tmp_path)]) == 0
    [rows] = json.loads((tmp_path / "editing.json").read_text()).values()
    assert [row["operation"] for row in rows] == ["generate", "variant", "edit", "edit of a view", "remove"]
    assert all(row["seconds"][0] > 0 for row in rows)
