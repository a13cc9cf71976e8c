"""The loop over objects: whatever is killed and however ranks share, the same bytes; what fails costs a line."""

import hashlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trellis.dataset import prepare
from trellis.dataset.latent_statistics import write_statistics
from trellis.dataset.layout import CONDITIONED, LATENT, MERGED, STRUCTURE, VOXELIZED, DataFolder
from trellis.dataset.local import local_rows
from trellis.dataset.meshes import training_mesh
from trellis.dataset.prepare import ModelStep, Share, carry_out, settle
from trellis.dataset.records import build_metadata, failures, read_metadata
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

MODELS = Path(__file__).parent / "models"
ALL = (VOXELIZED, LATENT, STRUCTURE, CONDITIONED)


class Encoders:
    """Stands in for a pipeline: latents that depend on the file alone, at once."""

    name, operations = "tiny", ("encode",)
    location = SimpleNamespace(name="tiny")
    host = SimpleNamespace(config=lambda role: SimpleNamespace(in_channels=91))
    runtime = SimpleNamespace(device=torch.device("cpu"))

    def load_mesh(self, mesh: SourceMesh, **_: Any) -> Any:
        height = float(mesh.vertices[:, 1].abs().max())
        count = 3 + int(height)
        coords = torch.stack([torch.arange(count)] * 3, 1).int()
        return SimpleNamespace(coords=coords, latent=torch.full((count, 8), height / 8), resolution=16)

    def structure_mean(self, voxels: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 2, 4, 4, 4), float(len(voxels)))


@pytest.fixture(autouse=True)
def drawn_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    def drawn(mesh: Any, cameras: Any, **_: Any) -> Iterator[torch.Tensor]:
        for camera in cameras:
            yield torch.full((8, 8, 4), int(255 * camera.extrinsics[0, 0, 0].abs()), dtype=torch.uint8)

    monkeypatch.setattr(prepare, "studio_pictures", drawn)
    encoders = tmp_path_factory.mktemp("tiny") / "encoders"
    encoders.mkdir()
    for role in ("slat_encoder", "sparse_structure_encoder"):
        (encoders / f"{role}.safetensors").write_bytes(role.encode())
    monkeypatch.setattr(prepare, "network_stem", lambda location, role: encoders / role)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "meshes"
    folder.mkdir()
    for number in range(5):
        text = f"v 0 0 0\nv 1 0 0\nv 0 1 {number}\nf 1 2 3\n# {'x' * number}\n"
        (folder / f"{number}.obj").write_text(text)
    return folder


def run(source: Path, root: Path, *, rank: int = 0, count: int = 1, retry: bool = False) -> prepare.Count:
    """What the command does."""
    folder = DataFolder(root)
    rows = build_metadata(folder, local_rows(source, folder)[0], merge=False)
    step = ModelStep("dataset", ALL, folder=folder, model=Encoders(), views=2, threads=1)  # type: ignore[arg-type]
    made = carry_out(step, rows, folder, share=Share(rank, count), retry=retry)
    if count == 1:
        settle(step, folder)
        write_statistics(folder, step.columns[1])
        build_metadata(folder, {})
    return made


def hashes(root: Path) -> dict[str, str]:
    """Of every file but the records, whose names have the time in them."""
    files = (path for path in root.rglob("*") if path.is_file() and MERGED not in path.parts)
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_makes_the_published_layout(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert run(source, root).there == 5
    rows, columns = read_metadata(DataFolder(root)), DataFolder(root).columns()
    assert len(rows) == 5
    (latent,) = (name for name in columns if re.fullmatch("latent_local91_slat_encoder_[0-9a-f]{8}", name))
    (structure,) = (name for name in columns if re.fullmatch("ss_latent_sparse_structure_encoder_[0-9a-f]{8}", name))
    for sha, row in rows.items():
        assert row["voxelized"] == row["cond_rendered"] == row[latent] == row[structure] == "True"
        assert 3 <= int(row["num_voxels"]) < 8
        names = {path.name for path in (root / "renders_cond" / sha).iterdir()}
        assert names == {"000.webp", "001.webp", "transforms.json"}
    assert "Number of assets with cond_rendered: 5" in (root / "statistics.txt").read_text()
    assert len(list((root / MERGED).iterdir())) == 4 and not list(root.glob("voxelized_*.csv"))


def test_a_second_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    run(source, root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert run(source, root).made == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_ranks_make_the_same_bytes(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "one")
    shares = [run(source, tmp_path / "three", rank=rank, count=3).there for rank in (2, 0, 1)]
    assert sum(shares) == 5 and max(shares) < 5
    assert run(source, tmp_path / "three").made == 0
    assert hashes(tmp_path / "three") == hashes(tmp_path / "one")
    with pytest.raises(InvalidInputError, match="rank must be 0"):
        Share(3, 3)


def killed(work: Callable[[], object], renames: int, *, before: bool) -> bool:
    """Whether a process that does the work was killed at its n-th rename: before it, or after."""
    child = os.fork()
    if child == 0:
        replace, left = Path.replace, renames

        def dying(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left == 0 and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = replace(path, target)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        Path.replace = dying  # type: ignore[method-assign,assignment]
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed the way of Unix")
def test_killed_anywhere_it_goes_on_to_the_same_bytes(source: Path, tmp_path: Path) -> None:
    """Processes are killed a few renames on from where the one before was, until one comes through."""
    run(source, tmp_path / "whole")
    root, kills = tmp_path / "killed", 0
    while killed(lambda: run(source, root), 2 + kills % 3, before=kills % 2 == 1):
        kills += 1
    assert 10 < kills < 100
    run(source, root)
    assert hashes(root) == hashes(tmp_path / "whole")


def test_a_bad_file_costs_a_line_and_is_retried_when_asked(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "bad.obj").write_text("v 0 0 0\nf 1 2 3\n")
    root = tmp_path / "data"
    count = run(source, root)
    assert (count.there, count.failed) == (5, 1)
    (reason,) = failures(DataFolder(root), "dataset").values()
    assert reason == "bad.obj is damaged: a face names a vertex that is not there."
    again = run(source, root)
    assert (again.made, again.failed) == (0, 1)
    monkeypatch.setattr(prepare, "training_mesh", lambda path: training_mesh(source / "0.obj"))
    assert run(source, root, retry=True).there == 6
    assert failures(DataFolder(root), "dataset") == {} and not list(root.glob("failed_*"))


def test_a_full_disk_is_no_fault_of_the_file(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "write_voxels", full)
    with pytest.raises(OSError, match="No space left"):
        run(source, tmp_path / "data")
    assert not list((tmp_path / "data").glob("failed_*"))


def test_the_models_of_the_fixture_are_taken(tmp_path: Path) -> None:
    """Real files of others: pictures that are not there and paths of other machines among them."""
    count = run(MODELS, tmp_path / "data")
    assert (count.there, count.failed) == (12, 0)
