"""What the starters promise exists; test_documents.py sees to what documents promise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from installer.commands import COMMANDS
from tests.contract.sources import ROOT

posix = pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="run.sh needs bash")


def test_the_starters_know_of_no_command_but_the_one_that_removes_them() -> None:
    """The list is in one place; a starter only keeps what must run without the environment's Python."""
    sh = (ROOT / "run.sh").read_text(encoding="utf-8")
    bat = (ROOT / "run.bat").read_text(encoding="utf-8")
    assert re.findall(r'\[ "\$\{1:-\}" = (\w+) \]', sh) == ["uninstall"]
    assert re.findall(r'if /i "%~1"=="(\w+)"', bat) == ["uninstall"]
    assert "uninstall" in COMMANDS


def test_run_bat_has_windows_line_endings() -> None:
    content = (ROOT / "run.bat").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 50


def test_run_bat_reads_nothing_after_the_program() -> None:
    """`update` replaces the file meanwhile, and cmd goes on at the same byte of the new one."""
    begun = (ROOT / "run.bat").read_text(encoding="utf-8").split("\n:launch\n")[1].split("\n\n")[0]
    lines = [line for line in begun.splitlines() if not line.startswith("rem ")]
    assert len(lines) == 2 and all('"%PY%" -P -m installer %*' in line for line in lines)
    assert lines[0].endswith(" & goto :eof") and lines[1].endswith(
        " & exit /b 1"
    )  # neither looks anything up in the file


@posix
def test_without_uv_and_the_network_it_says_what_to_do(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "uname"):
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
    assert "uv 0.13.9 could not be fetched" in result.stderr and "TRELLIS_UV" in result.stderr


@posix
def test_without_python_it_says_what_to_do(tmp_path: Path) -> None:
    """uv is there and finds none."""
    shutil.copy(ROOT / "run.sh", tmp_path / "run.sh")
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo "uv 0.13.9 (test)"; else exit 2; fi\n')
    uv.chmod(0o755)
    environment = {**os.environ, "TRELLIS_UV": str(uv)}
    command = ["bash", str(tmp_path / "run.sh"), "ui"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in result.stderr and "UV_PYTHON" in result.stderr


@posix
def test_modules_of_other_programs_are_not_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.sh", tmp_path / "run.sh")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$5" = ready ] || echo "$PYTHONPATH"\n')
    python.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": "/of/another/program"}
    command = ["bash", str(tmp_path / "run.sh"), "ui"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout == f"{tmp_path.resolve()}\n"


@posix
def test_an_environment_of_a_32_bit_python_gets_another(tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.sh", tmp_path / "run.sh")
    uv, python = tmp_path / "uv", tmp_path / ".venv" / "bin" / "python"
    uv.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo "uv 0.13.9 (test)"; else echo "uv $1"; exit 2; fi\n')
    python.parent.mkdir(parents=True)
    small = "import sys; sys.maxsize = 2**31 - 1; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" -c "{small}" "$2"\nexit 1\n')
    uv.chmod(0o755)
    python.chmod(0o755)
    result = subprocess.run(
        ["bash", str(tmp_path / "run.sh"), "ui"],
        env={**os.environ, "TRELLIS_UV": str(uv)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 1 and result.stdout == "uv venv\n"
    [check] = re.findall(r"import sys; sys\.exit\(.+?\)(?=[\"'])", (ROOT / "run.sh").read_text(encoding="utf-8"))
    assert f'"{check}"' in (ROOT / "run.bat").read_text(encoding="utf-8")


def test_the_list_is_quick_to_look_at() -> None:
    """What every start asks first imports neither argparse nor subprocess trees of the installer's other parts."""
    program = "import sys; from installer.__main__ import main; main(['ready', 'ui']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"installer.setup", "installer.plan", "argparse", "configparser"} & set(result.stdout.split())
