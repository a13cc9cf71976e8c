"""How many blocks of a network compute their activations again, so that a step fills the memory and no more."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from trellis.models import Network
from trellis.runtime import peak_allocated_bytes, reset_peak_memory, total_bytes
from trellis.training.released_config import MemoryArgs

_FIRST = (0.0, 0.25, 0.5)  # shares of blocks that keep their activations while there is little to go by
_REMEMBERED = 100  # measurements


class LinearMemory:
    """Peak memory as a linear function of a part's size and of what its blocks keep, fitted while training.

    Where the device's memory is not known all activations are kept.
    """

    def __init__(
        self,
        args: MemoryArgs,
        device: torch.device,
        *,
        total: Callable[[torch.device], int | None] = total_bytes,
        peak: Callable[[torch.device], int] = peak_allocated_bytes,
    ) -> None:
        self._args, self._device, self._total, self._peak = args, device, total(device), peak
        self._seen: deque[tuple[float, float, float]] = deque(maxlen=_REMEMBERED)  # size, size kept, share of memory

    def kept(self, size: int) -> float:
        """The share of blocks that keep their activations in a part of this size."""
        if self._total is None:
            return 1.0
        if len(self._seen) < len(_FIRST):
            started = not self._seen or self._seen[-1][2] < self._args.max_mem_ratio_start
            return _FIRST[len(self._seen)] if started else 0.0
        table = np.array(self._seen)
        base, all_blocks, each = np.linalg.lstsq(
            np.column_stack([np.ones(len(table)), table[:, 0], table[:, 1]]), table[:, 2], rcond=None
        )[0]
        room = self._args.target_ratio - base - all_blocks * size
        return float(np.clip(room / (each * size), 0, 1)) if each > 0 else 0.0

    @contextmanager
    def limited(self, networks: nn.Module, size: int) -> Iterator[None]:
        """Within the block, which is one forward and backward pass, the networks keep what fits."""
        kept = self.kept(size)
        for network in networks.modules():
            if isinstance(network, Network):
                network.recomputed = 1.0 - kept
        if self._total is None:
            yield
            return
        reset_peak_memory(self._device)
        yield
        self._seen.append((size, size * kept, self._peak(self._device) / self._total))
