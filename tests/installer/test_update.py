"""The newest version, or back."""

import subprocess
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.update import update

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]


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


def test_the_new_version_installs_its_packages(clone: Path) -> None:
    seen = []
    assert update(clone, install=lambda: seen.append((clone / "version").read_text()) or 0) == 0
    assert seen == ["2"]
    assert (clone / "settings").read_text() == "mine"


def test_a_version_that_cannot_be_installed_is_taken_back(clone: Path) -> None:
    with pytest.raises(InstallError, match="everything is as it was"):
        update(clone, install=lambda: 1)
    assert (clone / "version").read_text() == "1"
    assert (clone / "settings").read_text() == "mine"


def test_changed_files_are_never_overwritten(clone: Path) -> None:
    (clone / "version").write_text("mine")
    with pytest.raises(InstallError, match="could not be fetched"):
        update(clone, install=lambda: 0)
    assert (clone / "version").read_text() == "mine"


def test_a_folder_without_git_keeps_its_version(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    assert update(tmp_path, install=lambda: seen.append(1) or 0) == 0
    assert seen == [1]
    assert "unpack a newer version" in capfd.readouterr().out
