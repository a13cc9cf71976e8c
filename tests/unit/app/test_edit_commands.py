"""The commands that start from what is there: where results go, what is asked of the pipeline, what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import trimesh

from tests.unit.app.fakes import PICTURE, FakePipeline
from tests.unit.app.process_fakes import empty_host
from trellis.app import edit_commands
from trellis.app.presets import PRESETS
from trellis.cli import main
from trellis.runtime import Runtime


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    pipeline: Any = FakePipeline()
    pipeline.name, pipeline.runtime, pipeline.host = "fake", Runtime(), empty_host(PRESETS["balanced"].plan)
    monkeypatch.setattr(edit_commands, "open_pipeline", lambda **_: pipeline)
    return pipeline


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "chair.glb"
    trimesh.creation.icosphere(1).export(path)
    return path


def run(tmp_path: Path, *words: object) -> int:
    return main([*map(str, words), "--output", str(tmp_path / "out"), "--offline"])


def test_a_variant_of_a_mesh_file_never_overwrites_it(tmp_path: Path, mesh: Path, pipeline: FakePipeline) -> None:
    before = mesh.read_bytes()
    words = ["variant", mesh, "--picture", PICTURE, "--strength", "0.5", "--front", "90", "--formats", "glb", "--store"]
    assert main([*map(str, words), "--output", str(tmp_path)]) == 0
    read, used = pipeline.calls
    assert (read["mesh"], read["front"], read["picture"]) == ("chair.glb", "90", PICTURE)
    assert used["strength"] == 0.5 and mesh.read_bytes() == before
    assert {path.name for path in tmp_path.glob("chair*")} == {
        "chair.glb", "chair_variant.glb", "chair_variant.safetensors",
    }  # fmt: skip


def test_a_stored_asset_is_a_source(tmp_path: Path, pipeline: FakePipeline) -> None:
    stored = tmp_path / "chair.safetensors"
    stored.write_text("5")
    assert run(tmp_path, "variant", stored, "--picture", PICTURE, "--formats", "ply") == 0
    assert pipeline.calls[-1]["of"] == 5
    assert run(tmp_path, "decode", stored, "--formats", "stl,obj") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "chair_decoded.stl",
        "chair_decoded.obj",
        "chair_variant.ply",
    }


def test_a_new_texture_keeps_the_kind_of_file(tmp_path: Path, mesh: Path, pipeline: FakePipeline) -> None:
    assert run(tmp_path, "retexture", mesh, "--picture", PICTURE, "--uvs", "keep") == 0
    assert pipeline.calls[-1]["uvs"] == "keep"
    assert (tmp_path / "out" / "chair_retexture.glb").read_bytes() == mesh.read_bytes()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("variant MESH", "Give --picture or --prompt"),
        ("edit MESH --box 0,0,0,1,1,1", "Give --picture, --prompt or --remove"),
        ("variant MESH --picture PICTURE --prompt x", "Give --picture or --prompt"),
        ("variant MESH --picture none.png", "no picture file none.png"),
        ("variant MESH --picture FOLDER", "is a folder: give one picture in it"),
        ("variant none.glb --picture PICTURE", "none.glb is not there"),
        ("variant FOLDER --picture PICTURE", "is a folder: give a mesh file in it"),
        ("variant NOTE --picture PICTURE", "note.txt is no mesh file, which end in .glb, .gltf, .obj, .ply, .stl"),
        ("variant MESH --picture PICTURE --strength 0", "strength must be a number from 0.05 to 1"),
        ("edit MESH --picture PICTURE", "edit needs a box"),
        ("edit MESH --picture PICTURE --box 1,2,3", "six numbers"),
        ("edit MESH --picture PICTURE --box -0.5,0,0,-0.6,1,1", "the first corner below the second"),
        ("edit MESH --picture PICTURE --box 0,0,0,1,1,1 --remove", "neither --picture nor --prompt"),
        ("edit MESH --picture PICTURE --box 0,0,0,1,1,1 --view NOTE", "cannot be read as a view"),
        ("edit MESH --picture PICTURE --box 0,0,0,1,1,1 --view VIEW", "its view 9 x 9: save it at the size"),
        ("retexture STORED --picture PICTURE", "is no mesh file"),
        ("encode STORED", "is an asset already"),
        ("decode MESH", "is no stored asset"),
        ("encode NOTE", "end in .glb, .gltf, .obj, .ply, .stl"),
    ],
)
def test_refusals_are_one_sentence(
    line: str, said: str, tmp_path: Path, mesh: Path, pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.txt").write_text("{")
    (tmp_path / "a.safetensors").write_text("5")
    (tmp_path / "view.json").write_text('{"size": [9, 9], "box": [0, 0, 9, 9], "camera": null}')
    names = {"MESH": mesh, "PICTURE": PICTURE, "NOTE": tmp_path / "note.txt", "STORED": tmp_path / "a.safetensors"}
    names |= {"FOLDER": tmp_path, "VIEW": tmp_path / "view.json"}
    assert run(tmp_path, *(names.get(word, word) for word in line.split())) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and said in message and "\n" not in message
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
