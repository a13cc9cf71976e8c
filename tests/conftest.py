"""No test reaches out of this machine: connections and name look-ups from its process fail, and so does their test.

Child processes get what the offline step of `run.sh test` sets, and a proxy that is not there. And with `-n 3` (as in
`run.sh test`), this says which tests stay together.
"""

import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from installer.checks import OFFLINE

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there
LOOPBACK = {"localhost", "127.0.0.1", "::1", "", "0.0.0.0", "::", None}
REFUSED: list[str] = []  # where tests wanted to go
# Each in one process, in this order and before the others: browser tests would wait for each other's software WebGL,
# and the tests of a real model share what it made.
TOGETHER = ("tests/browser/", "tests/e2e/", "tests/training/")


def pytest_configure() -> None:
    os.environ.update(OFFLINE)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait would take a busy machine's cores
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores have processes of their own
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[name] = os.environ[name.lower()] = CLOSED
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
    socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = _guarded_lookup(socket.getaddrinfo)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        """The tests of a file, or of one of the folders TOGETHER, run in the same process, in their usual order."""

        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::")[0])

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    order = {folder: number for number, folder in enumerate(TOGETHER)}
    items.sort(key=lambda item: order.get("/".join(item.nodeid.split("/")[:2]) + "/", len(order)))


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
