"""`python -m trellis`: one object of several pictures, the list of models, and one sentence for every bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.contract.sources import ROOT
from tests.e2e.conftest import EXAMPLES, MODEL
from trellis.cli import main

FEW = ["--steps", "2", "--texture-size", "512", "--formats", "glb"]


@pytest.mark.parametrize(("mode", "kind"), [("stochastic", "glb"), ("multidiffusion", "stl")])
def test_two_pictures_of_one_object(mode: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirrored = tmp_path / "mirrored.png"
    first = EXAMPLES / "lighthouse.png"
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)
    output = tmp_path / "out"
    options = ["--one-object", "--multi-image", mode, "--output", str(output), "--model", MODEL, *FEW]
    assert main(["generate", str(first), str(mirrored), *options, "--formats", kind]) == 0
    file = output / f"lighthouse.{kind}"
    assert list(output.iterdir()) == [file]
    mesh = trimesh.load(file, file_type=kind, force="mesh")
    assert len(mesh.faces) > 50 and mesh.extents.max() > 0.2
    printed = capsys.readouterr().out
    assert str(file) in printed.replace("\n", "") and "Peak memory" in printed
    assert "likeness to the picture: " in printed


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Pictures by what is wrong with them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    good = EXAMPLES / "lighthouse.png"
    (folder / "corrupt.png").write_bytes(good.read_bytes()[:400])
    (folder / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((64, 64, 4), dtype=np.uint8)).save(folder / "empty.png")
    names = ("corrupt", "text", "empty", "missing")
    return {"good": good, "folder": folder} | {name: folder / f"{name}.png" for name in names}


@pytest.mark.parametrize(
    ("picture", "options", "named"),
    [
        ("missing", [], "missing.png"),
        ("folder", [], "batch"),
        ("corrupt", [], "corrupt.png"),
        ("text", [], "text.png"),
        ("empty", [], ""),
        ("good", ["--steps", "0"], "structure_steps"),
        ("good", ["--structure-guidance", "-1"], "structure_guidance"),
        ("good", ["--simplify", "1.5"], "simplify"),
        ("good", ["--texture-size", "1000"], "texture_size"),
        ("good", ["--faces", "1000", "--simplify", "0.5"], "exclude"),
        ("good", ["--formats", "glb,fbx"], "formats"),
        ("good", ["--model", "no-such-model"], "no-such-model"),
        ("good", ["--model", "Nanoo"], "Did you mean nano?"),
        ("good", ["--model", "microsoft/TRELLIS-text-base"], "such as --model microsoft/TRELLIS-image-large"),
        ("good", ["--device", "tpu"], "tpu"),
    ],
)
def test_bad_input_gives_one_sentence_and_no_file(
    picture: str,
    options: list[str],
    named: str,
    pictures: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    arguments = ["generate", str(pictures[picture]), "--output", str(output), "--model", MODEL, *FEW, *options]
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert named in errors
    assert list(output.rglob("*")) == []


def test_models_are_listed() -> None:
    command = [sys.executable, "-m", "trellis", "models"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    lines = {line.split()[0]: line for line in listing.splitlines()}
    assert "here" in lines["nano"] and "trellis-nano" in lines["nano"]
    assert "fetched" in lines["microsoft/TRELLIS-image-large"] or "here" in lines["microsoft/TRELLIS-image-large"]
