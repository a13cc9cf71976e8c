"""Seconds of one piece of work on a device."""

import time
from collections.abc import Callable
from typing import TypeVar

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
