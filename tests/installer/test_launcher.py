"""The launcher: what it starts, what it understands of the output, and that nothing outlives it."""

import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.launcher_program import Program, clean_environment, is_answering, page_address, start_command
from tests.contract.sources import ROOT, needed_files

posix = pytest.mark.skipif(os.name == "nt", reason="starts run.sh")


def wait_for(program: Program, text: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        line = program.lines.get(timeout=20)
        assert not isinstance(line, int), f"ended with {line} before {text!r}"
        if text in line:
            return
    raise AssertionError(text)


def exit_status(program: Program) -> int:
    while not isinstance(line := program.lines.get(timeout=20), int):
        pass
    return line


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("folder", ["C:\\a & b", "C:\\100% 좋은\\x", "C:\\plain", "C:\\wow! (x86)"])
def test_a_folders_name_never_reaches_cmd(folder: str) -> None:
    command = start_command(Path(folder), windows=True)
    assert command == r"cmd.exe /d /c .\run.bat ui"


def test_a_network_folder_is_named_in_quotes() -> None:
    command = start_command(Path("\\\\server\\share & more"), windows=True)
    assert command == r'cmd.exe /d /s /c ""\\server\share & more\run.bat" ui"'


def test_the_address_is_read_from_the_servers_own_line() -> None:
    source = (ROOT / "trellis" / "app" / "serve.py").read_text(encoding="utf-8")
    assert '"%s at %s (Ctrl+C ends the program)"' in source and '"Page and interface"' in source
    line = (
        "15:10:01 INFO    trellis.app.serve: Page and interface at http://127.0.0.1:7960/?token=a-b_c (Ctrl+C ends ...)"
    )
    assert page_address(line) == "http://127.0.0.1:7960/?token=a-b_c"
    assert page_address("Interface at http://127.0.0.1:7960/ (Ctrl+C ends the program)") is None
    assert page_address("Collecting torch from http://example.org/") is None


def test_what_belongs_to_the_launcher_is_not_handed_on() -> None:
    environment = {"PATH": "x", "_PYI_ARCHIVE_FILE": "a", "_MEIPASS2": "b", "TCL_LIBRARY": "c", "TK_LIBRARY": "d"}
    assert clean_environment(environment) == {"PATH": "x", "PYTHONUNBUFFERED": "1"}


def test_everything_that_the_program_imports_is_in_the_setup_program() -> None:
    script = (ROOT / "installer" / "windows" / "build.sh").read_text(encoding="utf-8")
    listed = script.split("git ls-files -z -- ")[1].split("| xargs")[0].replace("\\\n", " ")
    taken = [word for word in listed.split() if not word.startswith("':!:")]
    needed = needed_files("gradio_main.py", "train.py", "trellis/__main__.py", "installer/__main__.py")
    assert "extensions/vox2seq/codes.py" in needed
    missing = [file for file in needed if not any(file == place or file.startswith(f"{place}/") for place in taken)]
    assert not missing, missing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "새 폴더 & more!"
    folder.mkdir()
    return folder


def write(folder: Path, script: str) -> None:
    (folder / "run.sh").write_text(f"#!/bin/bash\n{script}\n")


@posix
def test_output_end_and_log(folder: Path) -> None:
    write(folder, "echo asked for $1; echo 한국어 >&2; exit 3")
    program = Program(folder)
    assert exit_status(program) == 3
    assert list(program.tail) == ["asked for ui", "한국어"]
    assert program.log.read_text(encoding="utf-8") == "asked for ui\n한국어\n"
    assert not program.running
    program.stop()  # does no harm


@posix
def test_stopping_ends_everything_that_was_started(folder: Path) -> None:
    write(folder, "sleep 300 & echo child $!; echo begun; wait")
    program = Program(folder)
    wait_for(program, "begun")
    child = int(next(line for line in program.tail if line.startswith("child")).split()[1])
    assert program.running and alive(child)
    program.stop()
    assert exit_status(program) != 0
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child) and not program.running


@posix
def test_a_question_is_answered_by_nobody(folder: Path) -> None:
    write(folder, "read -r answer || echo nobody")
    program = Program(folder)
    assert exit_status(program) == 0
    assert list(program.tail) == ["nobody"]


@posix
def test_a_folder_that_cannot_be_written_is_no_obstacle(folder: Path) -> None:
    write(folder, "echo here")
    (folder / ".state").write_text("in the way of the log's folder")
    program = Program(folder)
    assert exit_status(program) == 0
    assert "here" in program.tail and any("no log" in line for line in program.tail)


@pytest.fixture
def server() -> Iterator[tuple[int, "queue.Queue[bytes]"]]:
    """A port that answers every connection with what is in the queue."""
    answers: queue.Queue[bytes] = queue.Queue()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answers.get())

    threading.Thread(target=answer, daemon=True).start()
    yield listener.getsockname()[1], answers
    listener.close()


def test_a_server_that_runs_already_is_noticed(server: tuple[int, "queue.Queue[bytes]"]) -> None:
    port, answers = server
    answers.put(b"HTTP/1.1 200 OK\r\n\r\n")
    assert is_answering(port)
    answers.put(b"HTTP/1.1 404 Not Found\r\n\r\n")
    assert not is_answering(port)
    answers.put(b"SSH-2.0 200 \r\n")
    assert not is_answering(port)
    assert not is_answering(9)
