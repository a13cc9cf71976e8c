"""Stopping an installation: its package manager ends too, nobody sees a traceback, and half a package is not kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installer.__main__ import INTERRUPTED
from installer.steps import forget_interrupted
from tests.contract.sources import ROOT
from tests.installer.fake_shell import FakeShell

# An installation whose package manager tells its process number and then works for a minute.
PROGRAM = """
import sys
from pathlib import Path
from installer import __main__ as program

folder = Path(sys.argv[1])
program.LOG, program.LOCK = folder / "install.log", folder / "install.lock"
worker = "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
program.install = lambda shell, options: shell.run([sys.executable, "-c", worker, str(folder / "worker.part")])
sys.exit(program.main(["install"]))
"""


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("sent", "to_group"), [("SIGINT", True), ("SIGTERM", False), ("SIGHUP", True)])
def test_a_stopped_installation_leaves_nothing_running(sent: str, to_group: bool, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    note = tmp_path / "worker.part"
    deadline = time.monotonic() + 30
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = int(note.read_text())
    assert is_alive(worker)
    (os.killpg if to_group else os.kill)(program.pid, getattr(signal, sent))
    _, errors = program.communicate(timeout=30)
    assert program.returncode == INTERRUPTED
    assert errors == "\nStopped. The next start goes on from here.\n"
    assert not is_alive(worker)


@pytest.mark.parametrize("packages", ["lib/python3.11/site-packages", "Lib/site-packages"])
def test_half_installed_packages_are_forgotten(packages: str, tmp_path: Path) -> None:
    whole, half = (tmp_path / packages / f"{name}-1.0.dist-info" for name in ("whole", "half"))
    for folder in (whole, half):
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\n")
    (whole / "INSTALLER").write_text("pip\n")
    shell = FakeShell()
    forget_interrupted(shell, tmp_path)
    assert whole.exists() and not half.exists()
    assert len(shell.said) == 1 and "half-1.0" in shell.said[0]
