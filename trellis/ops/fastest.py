"""Which of several ways to compute the same is the fastest on this machine: measured, among those that agree."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from trellis.ops.measured import keep, recall
from trellis.runtime import synchronize

CALLS = 5
WORTH = 0.95
AGREEMENT = 1e-2  # of the largest value, between two ways in half precision

logger = logging.getLogger(__name__)
Way = TypeVar("Way")


def fastest(run: Callable[[Way], Tensor], ways: Sequence[Way], device: torch.device, *, question: str) -> Way:
    """The fastest of `ways` by `run(way)`, among those that give the first one's result; see `seconds_of_agreeing`.

    The first way stays unless another is faster by more than two measurements of the same differ.
    """
    seconds = seconds_of_agreeing(run, ways, device, question=question)
    best = min(seconds, key=lambda way: seconds[way])
    return best if seconds[best] < WORTH * seconds.get(ways[0], float("inf")) else ways[0]


def seconds_of_agreeing(
    run: Callable[[Way], Tensor], ways: Sequence[Way], device: torch.device, *, question: str
) -> dict[Way, float]:
    """Seconds of `run(way)` for those ways that give the first one's result.

    question: what is measured, in words that tell it from all else: the answer is kept between programs.
    """
    names = {str(way): way for way in ways}
    question = f"{question}: {', '.join(names)}"
    if (known := recall(question, device)) is not None and known.keys() <= names.keys():
        return {names[name]: seconds for name, seconds in known.items()}
    expected = run(ways[0])
    seconds = {}
    for way in ways:
        try:
            error = (run(way) - expected).abs().max() / expected.abs().max()
        except RuntimeError as fault:  # no plan for this card, or not enough work space
            logger.info("%s is not possible here: %s", way, fault)
            continue
        if bool(error <= AGREEMENT):
            seconds[way] = _time(run, way, device)
    logger.info("%s, measured in seconds: %s", question, seconds)
    keep(question, device, {str(way): value for way, value in seconds.items()})
    return seconds


def shell_of_voxels(side: int, device: torch.device) -> Tensor:
    """Voxels int32 [n, 4] (sample 0, x, y, z) of a ball's shell in a grid: a surface to measure convolutions on."""
    axis = torch.arange(side, device=device)
    grid = torch.cartesian_prod(axis, axis, axis)
    radius = (grid - side / 2 + 0.5).norm(dim=1)
    shell = grid[(radius - side / 3).abs() < 1.5]
    return torch.nn.functional.pad(shell, (1, 0)).int()


def _time(run: Callable[[Way], Tensor], way: Way, device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    for _ in range(CALLS):
        run(way)
    synchronize(device)
    return (time.perf_counter() - started) / CALLS
