"""No test reaches out of this machine: connections and name look-ups from its process fail, and so does their test.

Child processes get what the offline step of `run.sh test` sets, and a proxy that is not there.
"""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from installer.checks import OFFLINE

CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there
LOOPBACK = {"localhost", "127.0.0.1", "::1", "", "0.0.0.0", "::", None}
REFUSED: list[str] = []  # where tests wanted to go


def pytest_configure() -> None:
    os.environ.update(OFFLINE)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait would take a busy machine's cores
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[name] = os.environ[name.lower()] = CLOSED
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
    socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = _guarded_lookup(socket.getaddrinfo)


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_outside(address[0])
        return connect(self, address)

    return guarded


def _guarded_lookup(look_up: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        _refuse_outside(host)
        return look_up(host, *arguments, **options)

    return guarded


def _refuse_outside(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in LOOPBACK and not str(name).startswith("127."):
        REFUSED.append(str(name))
        raise ConnectionRefusedError(f"Tests run without a network, but {name} was asked for.")


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fail a test that reached out, also if the program took the refusal for an ordinary fault."""
    REFUSED.clear()
    yield
    reached = list(REFUSED)
    REFUSED.clear()
    assert reached == [], f"reached out to {reached}"
