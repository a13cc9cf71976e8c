"""Seconds of a piece of work on a device, memory of processes, and samples while something goes on."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil
import torch

from trellis.runtime import synchronize

T = TypeVar("T")


def timed(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds until all that `work` started on the device is done, and its result."""
    synchronize(device)
    begin = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - begin, result


def tree_bytes(process: int) -> int:
    """Resident memory of a process and all its children; those that end meanwhile count nothing."""
    total = 0
    parent = psutil.Process(process)
    for one in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


@contextlib.contextmanager
def sampled(sample: Callable[[], T], seconds: float) -> Iterator[list[T]]:
    """What `sample` gives every so many seconds while the body runs, and once more when it has ended."""
    end, samples = threading.Event(), list[T]()

    def watch() -> None:
        ended = False
        while not ended:
            ended = end.wait(seconds)
            samples.append(sample())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        end.set()
        watcher.join()
