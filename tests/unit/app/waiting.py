"""Waiting for something that happens in another thread or process."""

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds; a machine under load is slow, and only a failing test waits so long


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
