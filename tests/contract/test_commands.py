"""What README and run.sh promise exists; run.bat offers the same commands."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.sources import ROOT

MODULE_COMMAND = re.compile(r"python -m (?P<module>(?:trellis|tests|installer|benchmarks)[\w.]*)")
RUN_COMMAND = re.compile(r"(?:\./run\.sh|run\.bat)[ \t]+(?P<command>[a-z]+)")
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documented_commands_exist(document: str) -> None:
    path = ROOT / document
    assert path.exists(), f"{document} is missing"
    text = path.read_text(encoding="utf-8")
    commands = {match["command"] for match in RUN_COMMAND.finditer(text)}
    assert commands <= sh_commands()
    if document == "README.md":
        assert commands, "README names no command of run.sh"
    for match in MODULE_COMMAND.finditer(text):
        place = ROOT.joinpath(*match["module"].rstrip(".").split("."))
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), match[0]


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
