"""`trellis serve` as people start it: page and interface on one port, its arguments, its end."""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import free_port
from tests.contract.sources import ROOT
from tests.unit.app.waiting import wait_until
from trellis.app import serve
from trellis.app.executor import Executor
from trellis.app.history import HistoryLimits
from trellis.app.serve import further_tools, listen
from trellis.app.server_options import NEW_TOKEN, add_server_options, settings_from
from trellis.errors import InvalidInputError, TrellisError

START_SECONDS = 120


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    return parser.parse_args(arguments)


def test_the_arguments_become_settings(tmp_path: Path) -> None:
    plain = settings_from(parsed())
    assert (plain.host, plain.port, plain.token, plain.local) == ("127.0.0.1", 7960, None, True)
    assert settings_from(parsed("--ip", "127.0.0.2", "--port", "1")).host == "127.0.0.2"
    file = tmp_path / "token"
    file.write_text("from-a-file-1234\n")
    assert settings_from(parsed("--token-file", str(file))).token == "from-a-file-1234"
    new = [settings_from(parsed("--token", NEW_TOKEN)).token for _ in range(2)]
    assert new[0] != new[1] and all(token is not None and len(token) >= 24 for token in new)
    settings = settings_from(parsed("--host", "0.0.0.0", "--trust-lan", "--max-upload", "8", "--allow-name", "box"))
    assert (settings.max_upload_bytes, settings.names, settings.local) == (8 << 20, ("box",), False)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "0.0.0.0"], "token"),
        (["--token", "short"], "token"),
        (["--operator-token", "short"], "operator-token"),
        (["--token-file", "/nowhere/at/all"], "token file"),
        (["--max-upload", "0"], "max-upload"),
        (["--port", "70000"], "port"),
        (["--allow-origin", "*"], "origin"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        settings_from(parsed(*arguments))


def test_a_port_in_use_is_said_to_be_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInputError, match="--port takes another"):
            listen("127.0.0.1", taken.getsockname()[1])


@contextmanager
def started(tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    port, log = free_port(), tmp_path / "log.txt"
    command = [
        sys.executable,
        "-m",
        "trellis",
        "serve",
        "--device",
        "cpu",
        "--offline",
        "--port",
        str(port),
        *arguments,
    ]
    with log.open("w") as stream:
        program = subprocess.Popen(
            [*command, "--output", str(tmp_path / "out")], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        yield program, port, log
    finally:
        program.kill()
        program.wait()


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for_ping(program: "subprocess.Popen[bytes]", port: int, log: Path, path: str = "/ping") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert program.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            time.sleep(0.2)


@pytest.mark.slow
def test_page_and_interface_on_one_port_and_a_clean_end(tmp_path: Path) -> None:
    with started(tmp_path) as (program, port, log):
        wait_for_ping(program, port, log)
        wait_until(lambda: get(port, "/")[0] == 200)
        assert b"gradio" in get(port, "/")[1]
        assert get(port, "/viewer.js")[0] == 200
        operations = json.loads(get(port, "/info/supported_operations")[1])
        assert operations == ["make_meshes_and_tex", "retexture", "retexture_via_masks"]
        assert get(port, "/jobs")[0] == 200 and get(port, "/docs")[0] == 200
        assert get(port, "/jobs/x")[0] == 404 and get(port, "/no/such/place")[0] == 404
        assert get(port, "/gradio_api/info", Host="evil.example.org")[0] == 400
        assert get(port, "/", Origin="https://example.org")[0] == 403
        line = next(line for line in log.read_text().splitlines() if "Worker process" in line)
        worker = int(line.split("process ")[1].split()[0])
        os.kill(worker, 0)
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=30) == 0, log.read_text()
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        assert "Traceback" not in log.read_text(), log.read_text()
        assert f"Page and interface at http://127.0.0.1:{port}/" in log.read_text()


@pytest.mark.slow
def test_a_token_guards_the_page_too(tmp_path: Path) -> None:
    token = "only-for-this-test"
    with started(tmp_path, "--token", token, "--no-preload") as (program, port, log):
        wait_for_ping(program, port, log, f"/{token}/viewer.js")
        for path in ("/", "/viewer.js", "/gradio_api/info", "/ping", "/config"):
            assert get(port, path)[0] == 401, path
            assert get(port, path, Cookie=f"trellis_token={token}")[0] == 200, path
        assert token in log.read_text()  # the address to open is told


def test_the_server_s_own_process_imports_nothing_heavy() -> None:
    """Its /ping must answer at once; what computes is imported in worker processes."""
    heavy = ("torch", "transformers", "warp", "scipy", "trimesh", "cv2", "pandas", "gradio")
    code = f"import sys, trellis.app.serve; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_more_devices_get_a_process_each() -> None:
    options, told = parsed("--device", "cuda", "--preset", "minimal"), list[Mapping[str, Any]]()
    writers = Executor([], further_tools=lambda plan: [told.append(plan)][:0])
    assert further_tools(options, writers, {}) == further_tools(options, writers, {"devices": 1}) == []
    assert told == [{}]  # the writers hear of the first plan, once
    more = further_tools(options, writers, {"devices": 3})
    assert [tool.source.options["index"] for tool in more] == [1, 2]
    assert all(tool.source.options["preset"] == "minimal" for tool in more)
    assert len(further_tools(parsed("--workers", "2"), writers, {"devices": 4})) == 1


@pytest.mark.parametrize(
    ("arguments", "limits"),
    [
        ([], HistoryLimits()),
        (["--keep-jobs", "7"], HistoryLimits(jobs=7)),
        (["--keep-days", "0", "--keep-jobs", "0", "--keep-gb", "0"], HistoryLimits(0, 0, 0)),
    ],
)
def test_the_arguments_say_which_results_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], limits: HistoryLimits
) -> None:
    made = []

    def make(*_: object, history: HistoryLimits, **others: object) -> None:
        made.append(history)
        raise TrellisError("That is far enough.")

    monkeypatch.setattr(serve, "Engine", make)
    monkeypatch.setattr(serve, "configure_logging", lambda level: None)
    with pytest.raises(TrellisError, match="far enough"):
        serve.serve(parsed("--port", "0", "--offline", "--output", str(tmp_path), *arguments))
    assert made == [limits]
    with pytest.raises(InvalidInputError, match="jobs must be at least 0"):
        serve.serve(parsed("--port", "0", "--offline", "--output", str(tmp_path), "--keep-jobs", "-1"))
