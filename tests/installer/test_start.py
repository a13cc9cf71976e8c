"""The program's commands, started by name in the environment's Python; and the newest version, or back."""

import subprocess
import sys
from pathlib import Path

import pytest

from installer.errors import CommandError, InstallError
from installer.shell import LoggingShell
from installer.start import start
from installer.update import update

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "프로그램 & go!"
    folder.mkdir()
    tell = "import sys; print(__name__, sys.argv[1:])"
    for name in ("gradio_main.py", "train.py"):
        (folder / name).write_text(tell)
    (folder / "trellis").mkdir()
    (folder / "trellis" / "__init__.py").write_text("")
    (folder / "trellis" / "__main__.py").write_text(tell)
    monkeypatch.setattr(sys, "argv", ["installer"])
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["ui"], []),
        (["UI", "--port", "1"], ["--port", "1"]),
        (["serve", "--port", "1"], ["--no-browser", "--port", "1"]),
        (["train", "--x=a b & c!"], ["--x=a b & c!"]),
    ],
)
def test_files(arguments: list[str], expected: list[str], root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert start(root, arguments) == 0
    assert capfd.readouterr().out == f"__main__ {expected}\n"


@pytest.mark.parametrize("command", ["generate", "batch", "models"])
def test_modules(command: str, root: Path) -> None:
    program = "import sys; from pathlib import Path; from installer.start import start; start(Path.cwd(), sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", program, command, "그림 & 1!.png"],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{Path(__file__).parents[2]}", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert result.stdout == f"__main__ {[command, '그림 & 1!.png']}\n"


def test_exec_uses_the_environments_programs(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert start(root, ["exec", Path(sys.executable).name, "-c", "import os; print(os.environ['PYTHONPATH'])"]) == 0
    assert capfd.readouterr().out.strip() == str(root)
    assert start(root, ["exec", Path(sys.executable).name, "-c", "raise SystemExit(7)"]) == 7


def test_wrong_commands_are_said(root: Path) -> None:
    with pytest.raises(InstallError, match="generate"):
        start(root, ["fly"])
    with pytest.raises(InstallError, match="no program 'does-not-exist'"):
        start(root, ["exec", "does-not-exist"])
    with pytest.raises(InstallError, match="needs a command"):
        start(root, ["exec"])


def git(folder: Path, *arguments: str) -> str:
    command = [*GIT, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that is one commit behind its origin; a file of its own is changed."""
    origin = tmp_path / "origin"
    subprocess.run([*GIT, "init", "-q", str(origin)], check=True)
    for number in (1, 2):
        (origin / "version").write_text(str(number))
        (origin / "settings").write_text("0")
        git(origin, "add", ".")
        git(origin, "commit", "-qm", str(number))
        if number == 1:
            subprocess.run([*GIT, "clone", "-q", str(origin), str(tmp_path / "clone")], check=True)
    (tmp_path / "clone" / "settings").write_text("mine")
    return tmp_path / "clone"


def test_update(clone: Path, tmp_path: Path) -> None:
    seen = []
    update(LoggingShell(tmp_path / "log"), clone, install=lambda: seen.append((clone / "version").read_text()))
    assert seen == ["2"]
    assert (clone / "settings").read_text() == "mine"


def test_a_version_that_cannot_be_installed_is_taken_back(clone: Path, tmp_path: Path) -> None:
    def fail() -> None:
        assert (clone / "version").read_text() == "2"
        raise InstallError("no room")

    with pytest.raises(InstallError, match="no room"):
        update(LoggingShell(tmp_path / "log"), clone, install=fail)
    assert (clone / "version").read_text() == "1"
    assert (clone / "settings").read_text() == "mine"


def test_changed_files_are_never_overwritten(clone: Path, tmp_path: Path) -> None:
    (clone / "version").write_text("mine")
    with pytest.raises(CommandError, match="could not be fetched"):
        update(LoggingShell(tmp_path / "log"), clone, install=lambda: None)
    assert (clone / "version").read_text() == "mine"


def test_a_folder_without_git_keeps_its_version(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    update(LoggingShell(tmp_path / "log"), tmp_path, install=lambda: seen.append(1))
    assert seen == [1]
    assert "unpack a newer version" in capfd.readouterr().out
