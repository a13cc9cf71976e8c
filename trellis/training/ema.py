"""Exponential moving averages of weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def ema_decay(rate: float, step: int) -> float:
    """Averaging factor: grows as (1 + step) / (10 + step) up to `rate`, so that first weights are soon forgotten."""
    return min(rate, (1 + step) / (10 + step))


class Ema:
    """Averages of a module's trained parameters at one or several rates, in float32, on the module's device."""

    def __init__(self, module: nn.Module, rates: Sequence[float]) -> None:
        self.rates = tuple(rates)
        self._live = [p for p in module.parameters() if p.requires_grad]
        self._names = [name for name, p in module.named_parameters() if p.requires_grad]
        self._means = {rate: [p.detach().float().clone() for p in self._live] for rate in self.rates}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """mean += (1 - decay) * (weight - mean)."""
        weights = [p.detach().float() for p in self._live]
        for rate, mean in self._means.items():
            torch._foreach_lerp_(mean, weights, 1.0 - ema_decay(rate, step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module's parameters hold their averages at the first rate."""
        kept = [p.detach().clone() for p in self._live]
        self._copy(self._means[self.rates[0]])
        try:
            yield
        finally:
            self._copy(kept)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._live, values):
            parameter.copy_(value)

    def state(self, rate: float | None = None) -> dict[str, Tensor]:
        """The averages at a rate (None: the first) by parameter."""
        return dict(zip(self._names, self._means[self.rates[0] if rate is None else rate]))
