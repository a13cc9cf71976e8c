"""Tables of a data folder, and how objects are known."""

import shutil
from pathlib import Path

import pytest

from trellis.dataset.layout import DataFolder
from trellis.dataset.local import file_sha, local_rows, mesh_files, read_captions
from trellis.dataset.records import append, build_metadata, read_metadata, read_table
from trellis.errors import InvalidInputError
from trellis.runtime import share_of_job

MODELS = Path(__file__).parent / "models"
SHA = "ab" * 32


def test_an_object_is_its_file_and_those_that_it_names(tmp_path: Path) -> None:
    folder = shutil.copytree(MODELS / "crate", tmp_path / "crate")
    first = file_sha(folder / "crate.obj")
    assert first == file_sha(MODELS / "crate" / "crate.obj")
    (folder / "crate.jpg").write_bytes(b"another picture")
    second = file_sha(folder / "crate.obj")
    (folder / "crate.mtl").write_text("newmtl a\n")
    assert len({first, second, file_sha(folder / "crate.obj")}) == 3
    plain = tmp_path / "a.stl"
    plain.write_bytes(b"abc")
    assert file_sha(plain) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_copies_are_taken_once_and_files_of_the_folder_named_in_it(tmp_path: Path) -> None:
    for name in ("raw/a", "raw/b"):
        shutil.copytree(MODELS / "crate", tmp_path / name)
    rows, notes = local_rows(tmp_path / "raw", DataFolder(tmp_path))
    [row] = rows.values()
    assert row["local_path"] == "raw/a/crate.obj" and row["file_identifier"] == "a/crate.obj"
    assert notes == ["1 files are copies of others: each object is taken once."]
    with pytest.raises(InvalidInputError, match="holds no mesh file"):
        (tmp_path / "empty").mkdir()
        mesh_files(tmp_path / "empty")


def test_records_of_ranks_are_merged_and_torn_lines_left(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "metadata.csv").write_text(f"sha256,aesthetic_score,mine\n{SHA},5.5,kept\n")
    (tmp_path / "voxels").mkdir()
    (tmp_path / "voxels" / f"{SHA}.ply").write_text("ply\nformat ascii 1.0\nelement vertex 7\n")
    (tmp_path / "downloaded_0.csv").write_text(f"sha256,local_path\n{SHA},raw/a.glb\n{SHA[:9]}")
    append(tmp_path / "downloaded_0.csv", {"sha256": "cd" * 32, "local_path": "x"})
    assert read_table(tmp_path / "downloaded_0.csv")[-1] == {"sha256": "cd" * 32, "local_path": "x"}
    rows = build_metadata(folder, {})
    assert (
        rows
        == read_metadata(folder)
        == {
            SHA: {"sha256": SHA, "aesthetic_score": "5.5", "local_path": "raw/a.glb", "num_voxels": "7"}
            | {"voxelized": "True", "mine": "kept"}
        }
    )
    assert [path.name.split("_", 1)[1] for path in (tmp_path / "merged_records").iterdir()] == ["downloaded_0.csv"]
    (tmp_path / "voxels" / f"{SHA}.ply").unlink()
    assert build_metadata(folder, {})[SHA]["voxelized"] == "False"  # the files decide


def test_what_is_not_said_again_stays(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "crate", tmp_path / "raw")
    folder = DataFolder(tmp_path)
    rows, _ = local_rows(tmp_path / "raw", folder)
    [sha] = rows
    build_metadata(folder, {sha: rows[sha] | {"captions": '["a crate"]', "aesthetic_score": "6"}})
    after = build_metadata(folder, rows)[sha]
    assert (after["captions"], after["aesthetic_score"]) == ('["a crate"]', "6")


def test_captions_by_name_or_sha(tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text('file_identifier,captions\na.obj,"[""a chair"", ""red""]"\nb.obj,a table\n')
    assert read_captions(table) == {"a.obj": '["a chair", "red"]', "b.obj": '["a table"]'}
    table.write_text("name,captions\n")
    with pytest.raises(InvalidInputError, match="no column sha256 or file_identifier"):
        read_captions(table)


def test_the_share_comes_from_options_then_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert share_of_job(None, None) == (0, 1) and share_of_job(2, 5) == (2, 5)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert share_of_job(None, None) == (3, 8)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert share_of_job(None, None) == (1, 2) and share_of_job(0, 1) == (0, 1)
