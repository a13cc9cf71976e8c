"""Which attention back end is fastest here for lengths that come again and again: measured once, then remembered.

cuDNN plans every pair of lengths anew, which takes longer than it saves where lengths change with every object; for
the fixed grid of the structure flow it is measured against torch's own choice.
"""

import logging
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from trellis.ops import attention_cudnn
from trellis.ops.attention import packed_attention
from trellis.ops.segments import Segments
from trellis.runtime import synchronize

CANDIDATES = ("sdpa", "cudnn")
CALLS = 5
AGREEMENT = 1e-2  # of the largest value, between two back ends in half precision

logger = logging.getLogger(__name__)


@cache
def fastest_backend(
    device: torch.device, dtype: torch.dtype, *, q_length: int, k_length: int, heads: int, width: int
) -> str | None:
    """The back end for one sample of these lengths; None, which leaves the choice to every call, without candidates."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(n, heads, width, generator=generator).to(device, dtype) for n in (q_length, k_length, k_length)
    )
    if not attention_cudnn.is_usable(q):
        return None
    segments = Segments((q_length,), device), Segments((k_length,), device)

    def attend(backend: str) -> Tensor:
        return packed_attention(q, k, v=v, q_segments=segments[0], k_segments=segments[1], backend=backend)

    return choose(attend, device)


def choose(attend: Callable[[str], Tensor], device: torch.device) -> str:
    """The fastest of CANDIDATES by `attend(name)`, among those that give the first one's result."""
    expected = attend(CANDIDATES[0])
    seconds = {}
    for name in CANDIDATES:
        try:
            error = (attend(name) - expected).abs().max() / expected.abs().max()
        except RuntimeError as fault:  # no plan for this card, or not enough work space
            logger.info("attention by %s is not possible here: %s", name, fault)
            continue
        if bool(error <= AGREEMENT):
            seconds[name] = _time(attend, name, device)
    logger.info("attention measured in seconds: %s", seconds)
    return min(seconds, key=lambda name: seconds[name])


def _time(attend: Callable[[str], Tensor], name: str, device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    for _ in range(CALLS):
        attend(name)
    synchronize(device)
    return (time.perf_counter() - started) / CALLS
