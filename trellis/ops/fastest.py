"""Which of several ways to compute the same is the fastest on this machine: measured, among those that agree."""

import logging
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trellis.runtime import synchronize

CALLS = 5
AGREEMENT = 1e-2  # of the largest value, between two ways in half precision

logger = logging.getLogger(__name__)


def fastest(run: Callable[[str], Tensor], names: Sequence[str], device: torch.device) -> str:
    """The fastest of `names` by `run(name)`, among those that give the first one's result."""
    expected = run(names[0])
    seconds = {}
    for name in names:
        try:
            error = (run(name) - expected).abs().max() / expected.abs().max()
        except RuntimeError as fault:  # no plan for this card, or not enough work space
            logger.info("%s is not possible here: %s", name, fault)
            continue
        if bool(error <= AGREEMENT):
            seconds[name] = _time(run, name, device)
    logger.info("measured in seconds: %s", seconds)
    return min(seconds, key=lambda name: seconds[name])


def _time(run: Callable[[str], Tensor], name: str, device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    for _ in range(CALLS):
        run(name)
    synchronize(device)
    return (time.perf_counter() - started) / CALLS
