"""What run.sh promises exists; run.bat offers the same commands. Documents: test_documents.py."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.sources import ROOT

posix = pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="run.sh needs bash")


def sh_commands() -> set[str]:
    text = (ROOT / "run.sh").read_text(encoding="utf-8")
    labels = re.findall(r"^ {4}([a-z]+(?: \| [-a-z]+)*)\)$", text, flags=re.MULTILINE)
    return {name for label in labels for name in label.split(" | ") if not name.startswith("-")}


def bat_commands() -> set[str]:
    text = (ROOT / "run.bat").read_text(encoding="utf-8")
    return set(re.findall(r'if /i "%COMMAND%"=="([a-z]+)" goto', text))


def run_sh(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "run.sh"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_both_starters_offer_the_same_commands() -> None:
    expected = {"ui", "generate", "batch", "models", "serve", "train", "test", "doctor", "setup", "update", "uninstall"}
    expected |= {"exec", "help"}
    assert sh_commands() == expected
    assert bat_commands() == expected


def test_run_bat_has_windows_line_endings() -> None:
    content = (ROOT / "run.bat").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 50


@posix
def test_help_names_every_command(tmp_path: Path) -> None:
    result = run_sh("help", cwd=tmp_path)
    assert result.returncode == 0
    for name in sh_commands() - {"help"}:
        assert re.search(rf"^  {name} ", result.stdout, flags=re.MULTILINE), name


@posix
def test_unknown_command_says_so(tmp_path: Path) -> None:
    result = run_sh("fly", cwd=tmp_path)
    assert result.returncode == 2
    assert "unknown command 'fly'" in result.stderr


@posix
def test_missing_python_is_explained(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "cat"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(ROOT / "run.sh", folder / "run.sh")
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    command = [str(tools / "bash"), str(folder / "run.sh"), "ui"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in result.stderr
