"""`python -m trellis batch` on the embedded model: a good picture and a bad one, then a second start."""

import json
import shutil
from pathlib import Path

import pytest
import trimesh

from tests.e2e.conftest import EXAMPLES, MODEL
from trellis.cli import SOME_FAILED, main

FEW = ["--steps", "2", "--texture-size", "512", "--decimation", "2000", "--formats", "glb"]


def test_a_bad_picture_is_named_and_the_others_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "사진"
    pictures.mkdir()
    (pictures / "bad.png").write_bytes((EXAMPLES / "bear.png").read_bytes()[:400])
    shutil.copy(EXAMPLES / "lighthouse.png", pictures)
    output = tmp_path / "out"
    command = ["batch", str(pictures), "--output", str(output), "--model", MODEL, *FEW]
    assert main(command) == SOME_FAILED
    assert "bad.png" in capsys.readouterr().err
    mesh = trimesh.load(output / "lighthouse.glb", file_type="glb", force="mesh")
    assert 50 < len(mesh.faces) <= 2000 and mesh.extents.max() > 0.2
    record = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    assert record["counts"] == {"done": 1, "failed": 1, "waiting": 0} and record["request"]["faces"] == 2000
    [likeness] = [asset["likeness"] for asset in record["assets"] if asset["state"] == "done"]
    assert 0 < likeness <= 1
    made = (output / "lighthouse.glb").stat().st_mtime_ns

    (pictures / "bad.png").unlink()
    assert main(command) == 0  # nothing is left to do
    assert "1 pictures, 1 of them done already" in capsys.readouterr().out
    assert (output / "lighthouse.glb").stat().st_mtime_ns == made
    assert sorted(path.name for path in output.iterdir()) == ["lighthouse.glb", "manifest.json"]


def test_a_model_that_is_not_there_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["batch", str(EXAMPLES), "--output", str(tmp_path / "out"), "--model", "no-such-model"]
    assert main(command) == 1
    assert capsys.readouterr().err.count("no-such-model") == 1


def test_the_machine_options_reach_the_process_that_does_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", MODEL, "--device", "cpu", "--attention", "sdpa", "--memory-limit", "4"]
    assert main(["batch", str(EXAMPLES), "--output", str(tmp_path / "out"), *options]) == 1
    assert "Memory can be limited on a CUDA device only" in capsys.readouterr().err
