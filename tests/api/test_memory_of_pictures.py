"""What the pictures of clients take of the server's own memory and time; each is read in a child with a limit."""

import base64
import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest
from PIL import Image

from tests.contract.sources import ROOT
from tests.unit.app.process_fakes import Control
from tests.unit.app.waiting import PATIENCE, wait_until
from trellis.app.picture_reader import PictureReader
from trellis.errors import InvalidInputError

MB = 10**6
MOST_GROWTH = 100 * MB


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def deep_png(side: int = 7000, channels: int = 1) -> bytes:
    """A PNG of 16 bits a channel in a few kilobytes, as large as is accepted."""
    header = struct.pack(">IIBBBBB", side, side, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    packer = zlib.compressobj(9)
    row = b"\0" + (b"\x80\x00" * (channels * side // 2) + b"\x10\x00" * (channels * side - channels * side // 2))
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[PictureReader]:
    reader = PictureReader(tmp_path / "uploads", time_limit=PATIENCE)
    yield reader
    reader.close()


def as_file(data: bytes) -> IO[bytes]:
    return io.BytesIO(data)


def test_a_picture_is_read_reduced_and_gone_with_its_last_holder(reader: PictureReader) -> None:
    picture = reader.read(as_file(deep_png())).result(60)
    with Image.open(picture.path) as small:
        assert small.size == (1024, 1024) and small.getpixel((10, 10)) == (128, 128, 128)
    path = picture.path
    del picture
    wait_until(lambda: not path.exists())


def test_a_picture_beyond_the_limit_of_memory_ends_its_reader_and_the_next_is_read(tmp_path: Path) -> None:
    reader = PictureReader(tmp_path / "uploads", memory_limit=150 * MB, time_limit=PATIENCE)
    try:
        with pytest.raises(InvalidInputError, match="too much memory"):
            reader.read(as_file(deep_png(channels=4))).result(60)
        assert reader.read(as_file(small_png())).result(60).path.is_file()
    finally:
        reader.close()


def test_a_picture_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    reader = PictureReader(tmp_path / "uploads", time_limit=0.01)
    try:
        begun = time.monotonic()
        with pytest.raises(InvalidInputError, match="too long"):
            reader.read(as_file(deep_png())).result(60)
        assert time.monotonic() - begun < 20
    finally:
        reader.close()


def test_a_reader_that_dies_harms_one_picture(reader: PictureReader) -> None:
    assert reader.read(as_file(small_png())).result(60).path.is_file()
    assert reader._child is not None
    first = reader._child.pid
    pending = reader.read(as_file(deep_png(channels=4)))
    time.sleep(0.2)
    psutil.Process(first).kill()
    with pytest.raises(InvalidInputError, match="stopped its reader"):
        pending.result(60)
    assert reader.read(as_file(small_png())).result(60).path.is_file()


def test_what_waits_at_the_end_is_cancelled(tmp_path: Path) -> None:
    reader = PictureReader(tmp_path / "uploads")
    pictures = [reader.read(as_file(deep_png())) for _ in range(4)]
    reader.close()
    assert all(picture.cancelled() or picture.done() for picture in pictures)
    assert pictures[-1].cancelled() and reader.read(as_file(small_png())).cancelled()


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "PCX", "ICO", "JPEG2000"])
def test_formats_that_nobody_promised_are_not_opened(reader: PictureReader, kind: str) -> None:
    target = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 30)).save(target, kind)
    with pytest.raises(InvalidInputError, match="PNG, JPEG"):
        reader.read(as_file(target.getvalue())).result(60)


@pytest.mark.parametrize("size", [(20_000, 20), (8, 1200)])
def test_a_long_thin_picture_is_refused_for_what_it_is(reader: PictureReader, size: tuple[int, int]) -> None:
    target = io.BytesIO()
    Image.new("RGB", size, (10, 200, 30)).save(target, "PNG")
    with pytest.raises(InvalidInputError, match="too long and thin"):
        reader.read(as_file(target.getvalue())).result(60)


def small_png() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 30)).save(target, "PNG")
    return target.getvalue()


class Peak:
    """The most memory that a process (without its children) takes while this is open, less what it took before."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._before = self._process.memory_info().rss
        self._most = self._before

    def __enter__(self) -> "Peak":
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    @property
    def growth(self) -> int:
        return self._most - self._before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Address and process of a server that runs alone."""
    import socket

    folder = tmp_path_factory.mktemp("memory")
    Control(folder).set(stage="structure", step=1, fault="wait")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.api.fake_server", str(folder), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    home = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{home}/ping").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        answer = httpx.post(f"{home}/jobs", files={"pictures": ("a.png", small_png())}, timeout=60)  # all is imported
        httpx.delete(home + answer.json()["url"])
        yield home, process.pid
    finally:
        process.terminate()
        process.wait(30)


def noise_png(size: int) -> bytes:
    """A PNG of about so many bytes that no compression shortens."""
    side = int((size / 3) ** 0.5)
    picture = Image.frombytes("RGB", (side, side), os.urandom(3 * side * side))
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=0)
    return target.getvalue()


@pytest.mark.parametrize(
    "name", ["16 bits", "16 bits, twice at once", "16 bits of four channels", "a file of 60 MB", "text of 100 MB"]
)
def test_the_server_grows_little_and_answers_others_meanwhile(server: tuple[str, int], name: str) -> None:
    home, pid = server
    clients = 2 if "twice" in name else 1
    requests: dict[str, Callable[[], dict[str, Any]]] = {
        "16 bits": lambda: {"files": {"pictures": ("a.png", deep_png())}},
        "16 bits, twice at once": lambda: {"files": {"pictures": ("a.png", deep_png())}},
        "16 bits of four channels": lambda: {"files": {"pictures": ("a.png", deep_png(channels=4))}},
        "a file of 60 MB": lambda: {"files": {"pictures": ("a.png", noise_png(60 * MB))}},
        "text of 100 MB": lambda: {"json": {"pictures": [base64.b64encode(noise_png(75 * MB)).decode()]}},
    }
    request = requests[name]()
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(httpx.post(f"{home}/jobs", timeout=120, **request))

    with Peak(pid) as peak:
        senders = [threading.Thread(target=send) for _ in range(clients)]
        for sender in senders:
            sender.start()
        slowest = 0.0
        with httpx.Client(timeout=30) as client:
            while any(sender.is_alive() for sender in senders):
                begun = time.monotonic()
                assert client.get(f"{home}/ping").status_code == 200
                slowest = max(slowest, time.monotonic() - begun)
                time.sleep(0.02)
    for answer in answers:
        assert answer.status_code == 202, answer.text
        httpx.delete(home + answer.json()["url"])
    assert peak.growth < MOST_GROWTH, f"{peak.growth / MB:.0f} MB"
    assert slowest < 5
