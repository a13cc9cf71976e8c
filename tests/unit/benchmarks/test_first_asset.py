"""The benchmark of a process's first asset measures processes that make one."""

import json
from pathlib import Path

import pytest

from benchmarks import first_asset
from trellis.stages import Stage


def test_the_stages_of_a_first_asset_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # which no installation is told
    arguments = ["--device", "cpu", "--scale", "tiny", "--warm", "0", "--cold", "0", "--precision", "float32"]
    assert first_asset.main([*arguments, "--output", str(tmp_path)]) == 0
    [run] = json.loads((tmp_path / "first_asset.json").read_text())
    seconds = list(run["seconds"].values())
    assert run["kind"] == "first" and seconds == sorted(seconds) and seconds[0] > 0
    expected = ["imported", "opened", Stage.PREPARE, Stage.ENCODE, Stage.STRUCTURE, Stage.LATENT, Stage.DECODE, "asset"]
    assert list(run["seconds"]) == [str(name) for name in expected]
    kept = {path.name.split(".")[0] for path in (tmp_path / first_asset.BYTE_CODE).rglob("*.pyc")}
    assert {"pipeline", "opening", "functional"} <= kept  # ours and torch's
