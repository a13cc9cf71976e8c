"""run.bat under wine with a real Windows Python: quick checks always, from an empty folder to an asset when asked for.

The long one installs everything (some minutes and two gigabytes, from the network): TRELLIS_TEST_WINE=full.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installer.checks import UV_VERSION
from installer.launcher_program import is_answering
from tests.contract.sources import ROOT
from tests.installer import winebox
from tests.installer.winebox import PYTHON, Winebox

FOLDER = "새 폴더 (1) & go!"
RUN = "call run.bat {}\necho status %ERRORLEVEL%"
UV_NAME = f"uv-{UV_VERSION}-py3-none-win_amd64.whl"
WHEEL = ROOT / ".state" / "tools" / UV_NAME
FULL = os.environ.get("TRELLIS_TEST_WINE") == "full"
full = pytest.mark.skipif(not FULL, reason="some minutes and two gigabytes: run with TRELLIS_TEST_WINE=full")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Winebox]:
    found = winebox.find(tmp_path_factory.mktemp("windows"))
    if isinstance(found, str):
        pytest.skip(found)
    with (found.box / "in-use").open("w") as file:  # it shows one folder at a time
        fcntl.flock(file, fcntl.LOCK_EX)
        found.wait_for_the_end()
        if not WHEEL.is_file():
            pytest.skip("uv for Windows was not fetched (./run.sh setup --group dev does it where there is a network)")
        with zipfile.ZipFile(WHEEL) as archive:
            (found.drive_c / "uv.exe").write_bytes(archive.read(f"uv-{UV_VERSION}.data/scripts/uv.exe"))
        yield found
        found.wait_for_the_end()


@pytest.fixture(scope="module")
def program(box: Winebox) -> Path:
    return box.put_program(FOLDER)


@pytest.fixture
def clean(box: Winebox, program: Path) -> Iterator[Path]:
    box.take_stubs()
    yield program
    box.take_stubs()
    for name in (".venv", ".state"):
        shutil.rmtree(program / name, ignore_errors=True)


def run(
    box: Winebox, arguments: str, *, folder: str = FOLDER, path: str = PYTHON, timeout: float = 120, **env: str
) -> tuple[int, str]:
    """The exit status that a batch file sees, and everything that was printed. uv is there where a Python is."""
    settings = {"TRELLIS_UV": "C:\\uv.exe"} if path == PYTHON else {}
    result = box.batch(folder, RUN.format(arguments), path=path, timeout=timeout, env=settings | env)
    output = result.stdout + result.stderr
    assert "status " in output, output
    assert "Syntax error" not in output, output
    return int(output.split("status ")[1].split()[0]), output


def test_help_and_unknown_commands(box: Winebox, clean: Path) -> None:
    status, output = run(box, "help")
    assert status == 0
    assert ".\\run.bat generate PICTURE" in output
    status, output = run(box, "fly")
    assert status == 2
    assert "unknown command 'fly'" in output
    (clean / "mug (1).png").touch()
    status, output = run(box, '"mug (1).png"')  # as when it is dragged there: the window stays open
    assert status == 1 and "generate" in output and "Press any key" in output


def test_the_starter_may_be_replaced_while_the_program_runs(box: Winebox, clean: Path) -> None:
    """What cmd reads on is of the new file: here, nothing but lines that would say so."""
    starter, first = clean / "run.bat", clean / "sitecustomize.py"  # which every Python of the program runs first
    original = starter.read_bytes()
    replace = r"open('run.bat', 'wb').write(b'echo fragment\r\n' * 2000)"
    first.write_text(f"import sys\nif sys.orig_argv[-2:] == ['installer', 'fly']:\n    {replace}\n")
    try:
        status, output = run(box, "fly")
        assert starter.read_bytes() != original
    finally:
        starter.write_bytes(original)
        first.unlink()
    assert status == 2 and "unknown command 'fly'" in output and "fragment" not in output


def test_the_plan_is_shown_and_nothing_is_installed(box: Winebox, clean: Path) -> None:
    status, output = run(box, "setup --dry-run")
    assert status == 0
    for word in ("Windows AMD64, Python 3.11", "torch build : cpu", "no NVIDIA card", "licence: "):
        assert word in output
    assert not list((clean / ".venv" / "Lib" / "site-packages").glob("torch*"))


def test_a_folder_that_cannot_be_written_is_said(box: Winebox, clean: Path) -> None:
    (clean / ".state").write_text("in the way of the folder")
    try:
        status, output = run(box, "setup --dry-run")
    finally:
        (clean / ".state").unlink()
    assert status == 1
    assert "cannot be written to" in output


def test_without_uv_and_curl_it_says_what_to_do(box: Winebox, clean: Path) -> None:
    status, output = run(box, "setup --dry-run", path="C:\\nothing")
    assert status == 1
    assert "curl.exe" in output and "TRELLIS_UV" in output


def test_without_python_and_a_network_it_says_what_to_do(box: Winebox, clean: Path) -> None:
    settings = {"TRELLIS_UV": "C:\\uv.exe", "UV_PYTHON_DOWNLOADS": "never"}
    status, output = run(box, "setup --dry-run", path="C:\\nothing", **settings)
    assert status == 1
    assert "python.org" in output and "UV_PYTHON" in output


def put_files(stubs: Path, wheel: bytes, python: Path | None = None) -> dict[str, str]:
    """What a stubbed download finds; returns the settings that point uv to a mirror made of the box's own Python."""
    (stubs / "files" / UV_NAME).write_bytes(wheel)
    if python is None:
        return {}
    archive = stubs / "files" / "cpython-install_only.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(python, "python")
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "windows",
        "libc": "none",
        "major": 3,
        "minor": 11,
        "patch": 9,
        "prerelease": "",
        "url": "file:///C:/stubs/files/cpython-install_only.tar.gz",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20240814",
    }
    (stubs / "files" / "python.json").write_text(json.dumps({"cpython-3.11.9-windows-x86_64-none": entry}))
    return {"UV_PYTHON_DOWNLOADS_JSON_URL": "C:\\stubs\\files\\python.json"}


def test_a_file_of_another_hash_is_not_run(box: Winebox, clean: Path) -> None:
    put_files(box.put_stubs(), b"not what it should be")
    status, output = run(box, "setup --dry-run", path="C:\\stubs")
    assert status == 1
    assert "is not the file that it should be" in output
    assert not list((clean / ".state" / "uv").glob("uv*"))


def test_uv_and_python_are_fetched_where_there_are_none(box: Winebox, clean: Path) -> None:
    stubs = box.put_stubs()
    (stubs / "broken").touch()  # the first download breaks off in the middle
    settings = put_files(stubs, WHEEL.read_bytes(), box.drive_c / "Python311")
    status, output = run(box, "setup --dry-run", path="C:\\stubs", **settings)
    assert status == 1 and "what has arrived is kept" in output
    status, output = run(box, "setup --dry-run", path="C:\\stubs", **settings)
    assert status == 0, output
    assert "torch build : cpu" in output and list((clean / ".state" / "python").glob("cpython-3.11*"))
    assert (stubs / "curl.log").read_text().startswith(f"{WHEEL.stat().st_size // 2} of ")
    again = time.monotonic()
    status, output = run(box, "setup --dry-run", path="C:\\stubs")
    assert status == 0 and "Fetching" not in output and time.monotonic() - again < 60
    moved = clean.rename(clean.parent / "옮긴 폴더")  # and with it the Python that its environment is made of
    try:
        status, output = run(box, "setup --dry-run", folder=moved.name, path="C:\\stubs", UV_PYTHON_DOWNLOADS="never")
    finally:
        moved.rename(clean)
    assert status == 0 and "Fetching" not in output and "torch build : cpu" in output
    status, output = run(box, "uninstall --yes", path="C:\\stubs")
    assert status == 0 and "Removed" in output
    assert not (clean / ".state").exists()


@full
@pytest.mark.timeout(5400)
def test_from_an_empty_folder_to_an_asset(box: Winebox, clean: Path) -> None:
    command = RUN.format("setup --yes")
    with pytest.raises(subprocess.TimeoutExpired):  # ended in the middle, as by a power cut
        box.batch(FOLDER, command, path=PYTHON, timeout=45, env={"TRELLIS_UV": "C:\\uv.exe"})
    end_everything(box)
    status, output = run(box, "setup --yes", timeout=3600)
    assert status == 0 and "Installed in" in output, output
    # wine has no scheduler for OpenCV's threads, which real Windows has
    (clean / ".venv" / "Lib" / "site-packages" / "wine.pth").write_text("import cv2; cv2.setNumThreads(1)\n")
    missing = "mscoree=;mshtml=;ucrtbase=n,b;msvcp140,msvcp140_1,msvcp140_atomic_wait=n"
    status, output = run(box, 'exec python -c "import torch"', WINEDLLOVERRIDES=missing)
    assert status == 0, f"torch needs the system's C++ runtime: {output}"
    shutil.copy(ROOT / "assets" / "example_image" / "mug.png", clean / "머그 & 컵!.png")
    names = {"PICTURE": "머그 & 컵!.png", "RESULT": "결과 & out"}
    line = 'generate "%PICTURE%" --output "%RESULT%" --steps 2 --formats glb'
    status, output = run(box, line, timeout=1200, **names)
    assert status == 0, output
    assert (clean / "결과 & out" / "머그 & 컵!.glb").read_bytes()[:4] == b"glTF"
    assert page_answers(box, "cmd /c 'run.bat serve --port 7968'", port=7968)
    launcher = ROOT / "dist" / "TRELLIS.exe"
    if launcher.is_file() and shutil.which("Xvfb"):  # make windows
        assert not is_answering(), "the program runs on this machine already, at the launcher's port"
        shutil.copy(launcher, clean)
        with display() as number:
            assert page_answers(box, "TRELLIS.exe", port=7960, display=number)
        assert "Page and interface at" in (clean / ".state" / "launcher.log").read_text(encoding="utf-8")


@contextmanager
def display() -> Iterator[str]:
    """A screen for programs with windows; its name, also for programs that see no files of this system."""
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-listen", "tcp", "-ac", "-screen", "0", "1024x768x24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            yield f"127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def page_answers(box: Winebox, program: str, *, port: int, display: str = "") -> bool:
    """Whether the page that Windows' Python serves, started by `program`, is read from here; it is ended then."""
    start = f"cd '{FOLDER}' && WINEPATH='{PYTHON}' DISPLAY={display} wine {program}"
    with subprocess.Popen(
        [str(box.script), "run", start],
        cwd=box.host,
        env={**os.environ, "WINEBOX": str(box.box)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        try:
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                        return b"<!doctype html>" in answer.read()[:100]
                except OSError:
                    time.sleep(1)
            return False
        finally:
            end_everything(box)


def end_everything(box: Winebox) -> None:
    """End every process of the box whose folder is this test's: nothing else of wine is touched."""
    words = (FOLDER, "uv.exe", "pip install", "gradio", "-m installer", "TRELLIS.exe")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            roots = (entry / "root").resolve()
            mine = roots == (box.box / "root").resolve()
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if mine and any(word in command for word in words):
            os.kill(int(entry.name), 9)
