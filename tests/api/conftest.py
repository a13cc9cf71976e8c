"""A server on a free port, on the fake pipeline that obeys a file."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.unit.app.engines import start_engine
from tests.unit.app.process_fakes import Control, open_pipeline
from trellis.app import mesh_reader
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import Engine
from trellis.app.mesh_worker import problem_of
from trellis.app.picture_reader import PictureReader

HOME = "http://127.0.0.1:7960"


class SharedReader(PictureReader):
    """Outlives the engines of single tests."""

    def close(self) -> None:
        pass


def png(color: tuple[int, int, int] = (200, 60, 40), size: tuple[int, int] = (32, 24)) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, color).save(target, "PNG")
    return target.getvalue()


@dataclass
class Server:
    port: int
    control: Control
    engine: Engine


@contextmanager
def listening(app: FastAPI) -> Iterator[int]:
    """The port of an application that is served until the block ends."""
    # Named TCP: only of such sockets asyncio sends small parts at once; a body waited 40 ms behind its head.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            assert server.started
            yield port
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PictureReader]:
    """One for all tests: its process takes a moment to start."""
    reader = SharedReader(tmp_path_factory.mktemp("reader") / "uploads")
    yield reader
    PictureReader.close(reader)


@pytest.fixture
def meshes_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesh files are tried by what the child calls, in this process: for each, a child would import torch."""
    monkeypatch.setattr(mesh_reader, "_tried", lambda path, up, stop, *shape: problem_of(path, up, *shape))


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


@pytest.fixture
def engine(tmp_path: Path, control: Control, reader: PictureReader) -> Iterator[Engine]:
    """An engine in this process; the worker process has tests of its own."""
    load = partial(open_pipeline, folder=str(tmp_path))
    engine = start_engine(load, tmp_path / "jobs", models=["other", "words"], texts=["words"])
    engine.pictures = reader
    yield engine
    control.set()
    engine.close()


@pytest.fixture
def create_client(engine: Engine) -> Iterator[Callable[..., TestClient]]:
    """`create_client(**settings)`: a client of an application, without a network."""
    clients = []

    def create(base_url: str = HOME, **settings: object) -> TestClient:
        client = TestClient(create_api(engine, ApiSettings(**settings)), base_url=base_url)  # type: ignore[arg-type]
        clients.append(client.__enter__())
        return client

    yield create
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(create_client: Callable[..., TestClient]) -> TestClient:
    return create_client()


@pytest.fixture
def server(engine: Engine, control: Control) -> Iterator[Server]:
    with listening(create_api(engine, ApiSettings(busy_seconds=2.0))) as port:
        yield Server(port, control, engine)
