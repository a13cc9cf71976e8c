"""The command: one real object through the encoders of the embedded model, its check, and wrong lines."""

import errno
import shutil
from pathlib import Path

import pytest

from trellis.cli import main
from trellis.dataset.prepare import ModelStep

MODELS = Path(__file__).parent / "models"


def test_an_object_by_the_embedded_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(MODELS / "rock2", tmp_path / "meshes" / "rock")
    (tmp_path / "meshes" / "bad.stl").write_bytes(b"no mesh")
    line = ["dataset", str(tmp_path / "meshes"), "--output_dir", str(tmp_path / "data"), "--num_views", "1"]
    assert main([*line, "--device", "cpu"]) == 3  # one failed
    said = capsys.readouterr().out
    assert "2 objects in" in said and "1 objects are there, 1 failed" in said
    assert "bad.stl" in (tmp_path / "data" / "failed_dataset_0.csv").read_text()
    assert main(["dataset", "--check", str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert "for the latent flow, pictures: 1 objects" in said and "Trainers can read this folder." in said
    next((tmp_path / "data" / "voxels").iterdir()).unlink()
    assert main(["dataset", "--check", str(tmp_path / "data")]) == 1
    assert "is missing" in capsys.readouterr().err


def test_a_full_disk_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ModelStep, "make", full)
    assert main(["dataset", str(MODELS / "rock2"), "--output_dir", str(tmp_path / "data"), "--device", "cpu"]) == 1
    assert "The disk of the results is full" in capsys.readouterr().err
    assert not list((tmp_path / "data").glob("failed_*"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dataset", "Give the folder of the mesh files"),
        ("dataset {0}", "Give the folder of the mesh files"),
        ("dataset {0} --check {0}", "leave FOLDER out"),
        ("dataset {0} --output_dir {0}/data", "holds no mesh file"),
        ("dataset {0}/none --output_dir {0}/data", "There is no folder"),
        ("dataset --check {0}", "no metadata.csv"),
    ],
)
def test_wrong_lines_are_sentences(line: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.format(tmp_path).split()) == 1
    assert words in capsys.readouterr().err
