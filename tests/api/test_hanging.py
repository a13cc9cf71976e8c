"""Requests that do not go on, and a program that is told to end while something hangs."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import png
from tests.contract.sources import ROOT
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import Engine
from trellis.app.serve import PatientProtocol, run_until_told

HANGING = """
import asyncio, logging, signal, sys, threading, time
from pathlib import Path
from fastapi.responses import StreamingResponse
from trellis.app import serve
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from tests.unit.app.engines import fake_source, start_workers

folder, what = Path(sys.argv[1]), sys.argv[2]
serve.END_SECONDS = 3.0 if what != "nothing" else 60.0
engine = start_workers([fake_source(folder)], folder / "jobs")
app = create_api(engine, ApiSettings())

@app.get("/hang")
async def hang() -> None:
    if what == "loop":
        with open("/dev/zero", "rb") as file:
            while True:
                file.read(1 << 20)

@app.get("/wait")
async def wait() -> None:
    print("begun", flush=True)
    await asyncio.sleep(1000)

@app.get("/stream")
async def stream() -> StreamingResponse:
    async def pieces():
        yield "begun"
        print("begun", flush=True)
        await asyncio.sleep(1000)
    return StreamingResponse(pieces())

@app.get("/hang-thread")
def hang_thread() -> None:
    time.sleep(1000)

if what == "close":
    engine.close = lambda: time.sleep(1000)
with serve.listen("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    serve.run_until_told(app, engine, listener)
engine.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("what", ["nothing", "loop", "thread", "close"])
def test_the_program_ends_although_something_hangs(tmp_path: Path, what: str) -> None:
    command = [sys.executable, "-c", HANGING, str(tmp_path), what]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True
    )
    try:
        assert process.stdout is not None
        home = f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert httpx.get(f"{home}/ping", timeout=30).status_code == 200
        address = f"{home}/hang" if what == "loop" else f"{home}/hang-thread"

        def ask() -> None:
            try:
                httpx.get(address, timeout=60)
            except httpx.TransportError:
                return

        asking = threading.Thread(target=ask)
        if what != "nothing":
            asking.start()
            time.sleep(1)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert time.monotonic() - begun < 10
        assert process.returncode == (0 if what == "nothing" else 1)
        if what != "nothing":
            asking.join()
    finally:
        process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_requests_that_wait_at_the_end_are_ended_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGING, str(tmp_path), "nothing"]
    options: dict[str, Any] = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    try:
        assert process.stdout is not None
        home = f"http://127.0.0.1:{int(process.stdout.readline())}"
        with ThreadPoolExecutor(2) as threads:
            answers = [threads.submit(httpx.get, f"{home}/{path}", timeout=60) for path in ("wait", "stream")]
            assert [process.stdout.readline() for _ in answers] == ["begun\n"] * 2
            process.send_signal(signal.SIGTERM)
            assert [answer.result().status_code for answer in answers] == [503, 200]
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in said and "CancelledError" not in said, said


@pytest.fixture
def port(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server as `serve` runs it, with little patience."""
    monkeypatch.setattr(PatientProtocol, "head_seconds", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_api(engine, ApiSettings(body_seconds=1.0))
    servers: list[Any] = []
    monkeypatch.setattr("trellis.app.serve.uvicorn.Server.__init__", _noting(servers))
    thread = threading.Thread(target=run_until_told, args=(app, engine, listener))
    thread.start()
    yield listener.getsockname()[1]
    servers[0].should_exit = True
    thread.join(20)
    listener.close()


def _noting(servers: list[Any]) -> Any:
    import uvicorn

    original = uvicorn.Server.__init__

    def init(self: Any, config: Any) -> None:
        original(self, config)
        servers.append(self)

    return init


def talk(port: int, text: bytes, seconds: float = 20) -> tuple[bytes, float]:
    """What the server answers to a text that is not the whole, until it closes; and how long that took."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(text)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
    return heard, time.monotonic() - begun


@pytest.mark.parametrize("text", [b"", b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-"])
def test_a_connection_without_a_request_is_closed(port: int, text: bytes) -> None:
    heard, seconds = talk(port, text)
    assert heard == b"" and seconds < 10


def test_a_request_begun_after_another_is_closed_too(port: int) -> None:
    whole = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    heard, seconds = talk(port, whole + b"GET /pi")
    assert heard.startswith(b"HTTP/1.1 200") and seconds < 10


@pytest.mark.parametrize("route", ["/jobs", "/generate", "/generate_no_preview"])
def test_a_body_that_does_not_go_on_is_ended_and_lets_go(port: int, engine: Engine, route: str) -> None:
    kind = b"application/json" if route != "/generate_no_preview" else b"multipart/form-data; boundary=x"
    head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %b\r\nContent-Length: 9000\r\n\r\n{"
    heard, seconds = talk(port, head % (route.encode(), kind))
    assert heard.startswith(b"HTTP/1.1 408") and b"did not go on" in heard and seconds < 10
    answer = httpx.post(f"http://127.0.0.1:{port}/jobs", files={"pictures": ("a.png", png())}, timeout=30)
    assert answer.status_code == 202


def test_a_slow_body_that_goes_on_is_taken(port: int) -> None:
    whole = b'{"pictures": [], "seed": 1, "pad": "' + b"x" * 400_000 + b'"}'

    def pieces() -> Iterator[bytes]:
        for begin in range(0, len(whole), 80_000):
            time.sleep(0.4)
            yield whole[begin : begin + 80_000]

    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"http://127.0.0.1:{port}/jobs", content=pieces(), headers=headers, timeout=30)
    assert answer.status_code == 422
