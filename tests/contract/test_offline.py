"""The guard of tests/conftest.py refuses what it is there to refuse."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

OUTSIDE = "198.51.100.7"  # reserved for documentation: nobody is there
FETCH = "import urllib.request; urllib.request.urlopen('http://198.51.100.7/', timeout=20)"


@pytest.fixture
def reached(request: pytest.FixtureRequest, no_network: None) -> Iterator[list[str]]:
    """What was refused so far; forgotten at the end, so that these tests do not fail for it."""
    [guard] = [p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "REFUSED")]
    yield guard.REFUSED
    guard.REFUSED.clear()


def test_connections_to_other_machines_are_refused(reached: list[str]) -> None:
    with socket.socket() as plain, pytest.raises(ConnectionRefusedError, match="without a network"):
        plain.connect((OUTSIDE, 80))
    with socket.socket() as plain, pytest.raises(ConnectionRefusedError, match="without a network"):
        plain.connect_ex((OUTSIDE, 80))
    with pytest.raises(ConnectionRefusedError, match="without a network"):
        socket.create_connection(("outside.example", 80))
    assert reached == [OUTSIDE, OUTSIDE, "outside.example"]


def test_connections_to_this_machine_work(reached: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
    assert reached == []


def test_programs_find_a_proxy_that_is_not_there() -> None:
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://{OUTSIDE}/", timeout=20)
    child = subprocess.run([sys.executable, "-c", FETCH], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == 1
    assert "Connection refused" in child.stderr
