"""The folder of the results at the start: writable, one server's alone, without what killed processes left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sources import ROOT
from tests.unit.app.small_disk import fill, small_disk
from trellis.app.output_folder import claimed
from trellis.errors import InvalidInputError

HOLD = (
    "import sys, time; from pathlib import Path; from trellis.app.output_folder import claimed\n"
    "with claimed(Path(sys.argv[1])):\n    print('mine', flush=True); time.sleep(600)\n"
)


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has claimed the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "mine\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_second_server_refuses_and_a_killed_one_lets_go(tmp_path: Path, other: "subprocess.Popen[str]") -> None:
    with pytest.raises(InvalidInputError, match=r"Another server uses .*--output"), claimed(tmp_path / "out"):
        pass
    other.kill()
    other.wait()
    with claimed(tmp_path / "out"), claimed(tmp_path / "another"):
        assert (tmp_path / "out").is_dir()
    with claimed(tmp_path / "out"):
        pass


@pytest.mark.parametrize("program", [["-m", "trellis", "serve"], ["gradio_main.py", "--no-browser"]])
def test_the_start_says_what_is_wrong_with_the_folder(tmp_path: Path, program: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "inside"):
        command = [sys.executable, *program, "--port", "0", "--offline", "--output", str(output)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 2, done.stderr
        assert f"Results cannot be written to {output}: " in done.stderr and "--output" in done.stderr
        assert "Traceback" not in done.stderr and "Worker process" not in done.stderr


def test_a_full_disk_is_said_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as folder:
        with claimed(folder / "out"):
            pass
        filler = fill(folder)
        for output in ("out", "new"):
            with (
                pytest.raises(InvalidInputError, match=r"disk is full\. Make room there"),
                claimed(folder / output),
            ):
                pass
        filler.unlink()
        with claimed(folder / "out"):
            pass


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(InvalidInputError, match="Permission denied"), claimed(tmp_path / "out"):
        pass


def test_what_killed_processes_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    job, begun = tmp_path / "out" / ("a" * 32), tmp_path / "out" / ("b" * 32)
    left = [
        job / ".asset-ab12_xyz.glb",
        job / ".kept-abcdefgh.safetensors",
        job / ".asset-abcdefgh" / "asset.glb",
        begun / "picture_0.png",
        begun / "kept.safetensors",
        begun / "source.safetensors",
        begun / "source.glb",
        begun / ".request-abcdefgh.json",
        temporary / f"trellis-{dead.pid}-abcdefgh" / "in.npz",
    ]
    kept = [
        job / "request.json",
        job / "asset.glb",
        tmp_path / "out" / "notes.txt",
        tmp_path / "out" / ".my-settings",
        tmp_path / "out" / ("c" * 32) / "somebody's.txt",
        tmp_path / "out" / "own folder" / ".x-abcdefgh.txt",
        temporary / f"trellis-{os.getpid()}-abcdefgh" / "in.npz",
        temporary / "trellis-notes" / "x.txt",
    ]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with claimed(tmp_path / "out"):
        assert [path for path in kept if not path.exists()] == []
        assert [path for path in left if path.exists()] == []
        assert not begun.exists() and not (job / ".asset-abcdefgh").exists()
