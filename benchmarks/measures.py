"""Seconds of a piece of work on a device, and memory of processes."""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

from trellis.runtime import allocated_bytes, peak_allocated_bytes, reset_peak_memory, synchronize

T = TypeVar("T")


def timed(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds until all that `work` started on the device is done, and its result."""
    synchronize(device)
    begin = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - begin, result


def measured(work: Callable[[], object], device: torch.device, repeats: int) -> tuple[list[float], int, int]:
    """Seconds of each of `repeats` runs; bytes allocated on the device at most, and before the first."""
    reset_peak_memory(device)
    before = allocated_bytes(device)
    seconds = [timed(work, device)[0] for _ in range(repeats)]
    return seconds, peak_allocated_bytes(device), before


def tree_bytes(process: int) -> int:
    """Resident memory of a process and all its children; those that end meanwhile count nothing."""
    total = 0
    parent = psutil.Process(process)
    for one in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total
