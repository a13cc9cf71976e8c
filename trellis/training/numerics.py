"""Numbers that keep training stable: the factor of the loss in half precision, and the limit of the gradients' norm."""

from typing import Any

import torch
from torch import Tensor, nn

from trellis.errors import TrellisError

_FIRST_EXPONENT = 20.0
_MOST_SKIPPED = 100  # steps in a row


class LossScale:
    """2^s, by which the loss is multiplied so that small gradients survive float16.

    s starts at 20, grows with every good step by `growth`, and falls by one where gradients are not finite; such a step
    is skipped. With a growth of 0, for the other precisions, s is 0.
    """

    def __init__(self, growth: float = 0.0) -> None:
        self.growth, self.skipped = growth, 0
        self.exponent = _FIRST_EXPONENT if growth else 0.0

    @property
    def factor(self) -> float:
        return 2.0**self.exponent

    def accepts(self, norm: Tensor) -> bool:
        """Whether a step with gradients of this norm is taken. Raises TrellisError where too many in a row are not."""
        good = bool(torch.isfinite(norm))
        self.skipped = 0 if good else self.skipped + 1
        if self.skipped > _MOST_SKIPPED:
            raise TrellisError("The gradients are no longer finite: resume from an earlier step with a lower rate.")
        if self.growth:
            self.exponent += self.growth if good else -1.0
        return good


class NormLimit:
    """A fixed limit of the gradients' norm; None: none."""

    def __init__(self, most: float | None) -> None:
        self._most = most

    def clip(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """Scale the gradients, whose norm is `norm`, down to the limit."""
        if self._most is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._most, norm)

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


class PercentileLimit(NormLimit):
    """A limit that falls below `most` to a percentile of the last norms, once there are enough of them."""

    def __init__(self, most: float, percentile: float, length: int, device: torch.device) -> None:
        super().__init__(most)
        self._share, self._norms, self._count = percentile / 100, torch.zeros(length, device=device), 0

    def clip(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """See `NormLimit`; the limit stays on the device, so that nothing waits for it."""
        assert self._most is not None
        limit: Any = self._most
        if self._count >= len(self._norms):
            limit = self._norms.quantile(self._share).clamp(max=self._most)
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        self._norms[self._count % len(self._norms)] = norm
        self._count += 1

    def state(self) -> dict[str, Any]:
        norms = self._norms.to("cpu", copy=True)  # for it is written while the next steps are taken
        return {"norms": norms, "count": self._count}

    def load(self, state: dict[str, Any]) -> None:
        if len(state.get("norms", ())) == len(self._norms):  # a run of another length of memory begins a new one
            self._norms.copy_(state["norms"])
            self._count = state["count"]
