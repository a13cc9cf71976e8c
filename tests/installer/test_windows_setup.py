"""The launcher and the setup program on Windows or under wine: installed, run, replaced, removed.

They run where `make windows` has been run and TRELLIS_TEST_WINDOWS_RUN names a program that carries out one Windows
command line (its only argument) in the current folder, with a display.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.sources import ROOT

DIST = ROOT / "dist"
SETUP = DIST / "TRELLIS-desktop-setup.exe"
RUNNER = os.environ.get("TRELLIS_TEST_WINDOWS_RUN")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(RUNNER is None, reason="TRELLIS_TEST_WINDOWS_RUN is not set: no Windows and no wine here"),
    pytest.mark.skipif(not SETUP.is_file(), reason="the setup program is not built (make windows)"),
]
FACTS = r"""
set "KEY=HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\TrellisDesktop"
reg query %KEY% /v DisplayName >nul 2>nul && echo REGISTERED
if exist "%APPDATA%\Microsoft\Windows\Start Menu\Programs\TRELLIS desktop\TRELLIS desktop.lnk" echo IN START MENU
if exist "%USERPROFILE%\Desktop\TRELLIS desktop.lnk" echo ON DESKTOP
"""
EVERYTHING = {"REGISTERED", "IN START MENU", "ON DESKTOP"}
Batch = Callable[[str], set[str]]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Carries out lines of a batch file in the test's folder and returns what they said."""

    def carry_out(lines: str) -> set[str]:
        assert RUNNER is not None
        script = "@echo off\n" + lines.strip() + "\n"
        (tmp_path / "step.bat").write_bytes(script.replace("\n", "\r\n").encode("ascii"))
        # Into a file: a program that is left over would keep a pipe open.
        with (tmp_path / "said.txt").open("wb") as said:
            subprocess.run([RUNNER, "step.bat"], cwd=tmp_path, stdout=said, timeout=150, check=False)
        text = (tmp_path / "said.txt").read_bytes().decode(errors="replace")
        return {line.strip() for line in text.splitlines() if line.strip()}

    return carry_out


def install(batch: Batch) -> set[str]:
    return batch("start /wait setup.exe /S /D=%CD%\\my app\necho STATUS %ERRORLEVEL%\n" + FACTS)


def test_sizes() -> None:
    assert (DIST / "TRELLIS.exe").stat().st_size <= 15e6
    assert SETUP.stat().st_size <= 60e6


def test_installed_run_replaced_and_removed(tmp_path: Path, batch: Batch) -> None:
    shutil.copy(SETUP, tmp_path / "setup.exe")
    app = tmp_path / "my app"
    said = install(batch)
    assert said >= EVERYTHING | {"STATUS 0"}
    for name in ("TRELLIS.exe", "uninstall.exe", "run.bat", "installer/__main__.py", "trellis/pipeline.py", "LICENSE"):
        assert (app / name).is_file(), name
    weights = "assets/models/trellis-nano/ckpts/slat_flow_model.safetensors"
    assert (app / weights).stat().st_size > 10e6
    assert not (app / "tests").exists() and not (app / ".git").exists()

    stub = "@echo off\r\necho %*> started.txt\r\necho Page and interface at http://127.0.0.1:1/ (x)\r\n"
    original = (app / "run.bat").read_bytes()
    (app / "run.bat").write_bytes(f"{stub}ping -n 12 127.0.0.1 >nul\r\necho x> survived.txt\r\n".encode())
    batch(
        'cd "my app"\nstart "" TRELLIS.exe\n'
        "for /l %%i in (1,1,30) do if not exist started.txt ping -n 2 127.0.0.1 >nul\n"
        "ping -n 3 127.0.0.1 >nul\n"
        # the unpacking process and the window's
        "taskkill /f /im TRELLIS.exe\nping -n 2 127.0.0.1 >nul\ntaskkill /f /im TRELLIS.exe\n"
        "ping -n 16 127.0.0.1 >nul\n"
    )
    assert (app / "started.txt").read_text().strip() == "ui"
    assert "Page and interface" in (app / ".state" / "launcher.log").read_text()
    assert not (app / "survived.txt").exists()  # it ended with the launcher
    (app / "run.bat").write_bytes(original + b"rem changed")

    made = {"outputs/a.glb": "mine", "notes.txt": "mine", ".venv/marker": "", "trellis/__pycache__/x.pyc": ""}
    for name, text in made.items():
        (app / name).parent.mkdir(exist_ok=True)
        (app / name).write_text(text)
    (app / "started.txt").unlink()
    assert install(batch) >= EVERYTHING | {"STATUS 0"}  # over the earlier one
    assert (app / "run.bat").read_bytes() == original
    assert (app / ".venv" / "marker").is_file() and (app / "outputs" / "a.glb").is_file()

    said = batch(
        'start /wait "" "my app\\uninstall.exe" /S\n'
        'for /l %%i in (1,1,60) do if exist "my app\\uninstall.exe" ping -n 2 127.0.0.1 >nul\n' + FACTS
    )
    assert said & EVERYTHING == set()
    assert sorted(path.relative_to(app).as_posix() for path in app.rglob("*")) == [
        "notes.txt",
        "outputs",
        "outputs/a.glb",
    ]


def test_a_folder_with_other_things_gets_a_folder_in_it(tmp_path: Path, batch: Batch) -> None:
    shutil.copy(SETUP, tmp_path / "setup.exe")
    app = tmp_path / "my app"
    app.mkdir()
    (app / "letter.txt").write_text("mine")
    assert "STATUS 0" in install(batch)
    inner = app / "TRELLIS desktop"
    assert (inner / "TRELLIS.exe").is_file() and not (app / "TRELLIS.exe").exists()
    batch(
        'start /wait "" "my app\\TRELLIS desktop\\uninstall.exe" /S\n'
        'for /l %%i in (1,1,60) do if exist "my app\\TRELLIS desktop" ping -n 2 127.0.0.1 >nul\n'
    )
    assert [path.name for path in app.rglob("*")] == ["letter.txt"]
