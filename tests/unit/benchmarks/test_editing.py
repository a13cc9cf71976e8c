"""The benchmark of edits runs all operations and writes what it measured."""

import json
from pathlib import Path

from benchmarks import editing


def test_operations_are_measured_beside_a_generation(tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--scale", "tiny", "--repeats", "1", "--steps", "1", "--precision", "float32"]
    assert editing.main([*arguments, "--output", str(tmp_path)]) == 0
    [rows] = json.loads((tmp_path / "editing.json").read_text()).values()
    assert [row["operation"] for row in rows] == ["generate", "variant", "edit", "remove"]
    assert all(row["seconds"][0] > 0 for row in rows)
