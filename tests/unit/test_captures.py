"""A captured launch that finds no memory has torch's cache released and is tried once more (a stand-in for CUDA)."""

import logging
import weakref
from contextlib import nullcontext

import pytest
import torch

from trellis.ops import captures
from trellis.ops.captures import GraphReplay

CUDA = torch.device("cuda")


class Graph:
    """Captures nothing, and keeps what the capture was told."""

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        self.pool = lambda: pool

    def capture_end(self) -> None:
        pass

    def replay(self) -> None:
        pass


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        pass


class Work:
    """A function that lacks memory or cannot be captured as often as told, from the second call on."""

    def __init__(self, *errors: RuntimeError) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.held: list[weakref.ref[torch.Tensor]] = []

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        scratch = torch.zeros(4)
        self.held.append(weakref.ref(scratch))
        if self.calls > 1 and self.errors:
            raise self.errors.pop(0)
        return scratch + 1


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """The device each time torch's cache was released."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(captures, "_capture_stream", lambda device: Stream())
    devices: list[torch.device] = []
    monkeypatch.setattr(captures, "release_cached_memory", devices.append)
    return devices


def captured(work: Work) -> tuple[GraphReplay, torch.Tensor]:
    """A replay after the second call of its work, which captures it, and what that returned."""
    replay = GraphReplay(CUDA, mode="on")
    replay.run("step", work, remaining=10)
    return replay, replay.run("step", work, remaining=9)


SHORT = "CUDA out of memory. Tried to allocate 20.00 MiB."


def test_a_capture_without_memory_is_tried_again(
    released: list[torch.device], caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(torch.OutOfMemoryError(SHORT))
    with caplog.at_level(logging.WARNING):
        replay, out = captured(work)
    assert not caplog.messages and list(replay._captured) == ["step"]
    assert torch.equal(out, torch.ones(4)) and work.calls == 3
    assert released == [CUDA]


def test_the_failed_capture_is_gone_when_memory_is_released(
    released: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, alive = Work(torch.OutOfMemoryError(SHORT)), []
    monkeypatch.setattr(captures, "release_cached_memory", lambda device: alive.append(work.held[1]()))
    captured(work)
    assert alive == [None]


def test_a_second_failure_is_said_and_the_steps_go_on(
    released: list[torch.device], caplog: pytest.LogCaptureFixture
) -> None:
    replay, out = captured(Work(torch.OutOfMemoryError(SHORT), torch.OutOfMemoryError(SHORT)))
    assert torch.equal(out, torch.ones(4)) and replay._mode == "off" and released == [CUDA]
    [message] = caplog.messages
    assert "piece by piece" in message and "out of memory" in message


def test_what_cannot_be_captured_is_not_tried_again(
    released: list[torch.device], caplog: pytest.LogCaptureFixture
) -> None:
    replay, _ = captured(Work(RuntimeError("operation not permitted when stream is capturing")))
    assert replay._mode == "off" and not released and len(caplog.messages) == 1
