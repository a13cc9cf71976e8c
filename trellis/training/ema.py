"""Exponential moving average of weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averages of a module's parameters, in float32, on the module's device."""

    def __init__(self, module: nn.Module) -> None:
        self._live = [p for p in module.parameters() if p.requires_grad]
        self._names = [name for name, p in module.named_parameters() if p.requires_grad]
        self._mean = [p.detach().float().clone() for p in self._live]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """mean += (1 - decay) * (weight - mean)."""
        torch._foreach_lerp_(self._mean, [p.detach().float() for p in self._live], 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module's parameters hold their averages."""
        kept = [p.detach().clone() for p in self._live]
        self._copy(self._mean)
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._live, values):
            parameter.copy_(value)

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self._names, self._mean))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for name, mean in zip(self._names, self._mean):
            mean.copy_(state[name])
