"""Twenty clients at once on a server of its own process: nothing is lost, and /ping answers all the time."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.alone.clients import percentile, run_load
from tests.browser.serving import free_port
from tests.contract.sources import ROOT
from tests.unit.app.process_fakes import Control

CLIENTS = 20
SECONDS = 6.0
OPTIONS = {"formats": ["glb"], "texture_size": 512}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[str, int]]:
    Control(tmp_path).set(step_seconds=0.01, open_seconds=1.0)
    port = free_port()
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.api.fake_server", str(tmp_path), str(port)], cwd=ROOT, stderr=log, stdout=log
        )
        try:
            yield "127.0.0.1", port
        finally:
            server.terminate()
            server.wait(timeout=30)


def test_twenty_clients_lose_nothing(place: tuple[str, int], tmp_path: Path) -> None:
    # In a thread of its own: browser tests that ran before leave an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        work = run_load(place, clients=CLIENTS, seconds=SECONDS, options=OPTIONS)
        load = thread.submit(asyncio.run, work).result()
    assert load.failed == [] and load.lost == 0 and load.ping_failures == 0, load
    assert load.finished > CLIENTS / 2 and load.forms >= 1, load
    assert load.refused > 0, "the queue was never full: this was no load"
    for phase in ("first job", "load"):
        assert percentile(load.pings[phase], 0.5) < 0.05, load
        assert max(load.pings[phase]) < 2.0  # the desktop client gives up after 4 s
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
