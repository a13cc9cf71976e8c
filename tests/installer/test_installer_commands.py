"""The program's commands, started by name in the environment's Python."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installer import __main__ as program
from installer.commands import COMMANDS, usage
from tests.contract.sources import ROOT
from trellis.cli import build_parser


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A program whose files tell what they were started with; its environment is complete."""
    folder = tmp_path / "프로그램 & go!"
    (folder / "trellis").mkdir(parents=True)
    tell = "import sys; print(__name__, sys.argv[1:])"
    for name in ("gradio_main.py", "train.py", "trellis/__main__.py"):
        (folder / name).write_text(tell)
    (folder / "trellis" / "__init__.py").write_text("")
    (folder / "installer").symlink_to(ROOT / "installer")
    return folder


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", "import sys; from pathlib import Path; from installer import __main__ as p"]
    command[-1] += "; p.ROOT = Path.cwd(); sys.exit(p.main(sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}", "PYTHONUTF8": "1"}
    return subprocess.run([*command, *arguments], cwd=root, env=env, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["ui"], []),
        (["UI", "--port", "1"], ["--port", "1"]),
        (["serve", "--port", "1"], ["serve", "--port", "1"]),
        (["train", "--x=a b & c!"], ["--x=a b & c!"]),
        (["generate", "그림 & 1!.png", "--help"], ["generate", "그림 & 1!.png", "--help"]),
        (["batch", "a"], ["batch", "a"]),
        (["models"], ["models"]),
    ],
)
def test_a_command_runs_its_program(arguments: list[str], expected: list[str], root: Path) -> None:
    result = run(root, *arguments)
    assert (result.returncode, result.stdout) == (0, f"__main__ {expected}\n"), result.stderr


def test_exec_uses_the_environments_programs(root: Path) -> None:
    python = Path(sys.executable).name
    result = run(root, "exec", python, "-c", "import os; print(os.environ['PYTHONPATH'])")
    assert result.stdout.strip() == str(root)
    assert run(root, "exec", python, "-c", "raise SystemExit(7)").returncode == 7
    assert "no program 'does-not-exist'" in run(root, "exec", "does-not-exist").stderr
    assert "needs a command" in run(root, "exec").stderr


def test_help_and_what_nobody_knows(root: Path) -> None:
    assert run(root, "help").stdout == run(root, "--help").stdout == usage() + "\n"
    assert all(f"\n  {name} " in usage() for name in COMMANDS)
    (root / "Mug 1.png").touch()
    told = run(root, "Mug 1.png")
    assert told.returncode == 2 and "Did you mean 'generate \"Mug 1.png\"'?" in told.stderr
    result = run(root, "fly")
    assert result.returncode == 2 and "unknown command 'fly'" in result.stderr and usage() in result.stderr


def test_what_can_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for installed in (set(), {"main"}, {"main", "dev"}):
        monkeypatch.setattr(program, "is_current", lambda root, venv, group: group in installed)  # noqa: B023
        ready = {name for name in [*COMMANDS, "fly"] if program.main(["ready", name]) == 0}
        always, packages = {"help", "fly", "uninstall"}, set(COMMANDS) - {"test", "setup", "update"}
        assert ready == (always if not installed else always | packages | ({"test"} if "dev" in installed else set()))
        assert program.main(["ready"]) == (0 if installed else 1)  # the page


def test_the_list_has_every_command_of_the_program() -> None:
    [action] = [action for action in build_parser()._actions if action.choices]
    assert set(action.choices or ()) <= set(COMMANDS)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("sent", "to_group"), [("SIGINT", True), ("SIGTERM", False), ("SIGHUP", True)])
def test_a_stopped_installation_leaves_nothing_running(sent: str, to_group: bool, tmp_path: Path) -> None:
    """Its uv tells its process number, once it is surely known to its parent, and then works for a minute."""
    note, uv = tmp_path / "note", tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\nsleep 1\necho $$ > "{note}"\nexec sleep 60\n')
    uv.chmod(0o755)
    script = f"""
import sys
from installer import __main__ as program, setup
from installer.environment import Uv
setup.install = lambda options: Uv({str(uv)!r}).run("pip", "install")
sys.exit(program.main(["setup"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (note.exists() and note.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = int(note.read_text())
    (os.killpg if to_group else os.kill)(process.pid, getattr(signal, sent))
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (program.INTERRUPTED, "\nStopped. The next start goes on from here.\n")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
