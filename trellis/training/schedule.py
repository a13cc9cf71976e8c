"""How far a plan has come, and the learning rates that follow from it."""

import math
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from trellis.errors import InvalidInputError, did_you_mean
from trellis.training.config import OptimizerConfig
from trellis.training.optimizers import set_rates


def learning_rate(config: OptimizerConfig, step: int, fraction: float) -> float:
    """Linear warm-up, plateau, then a cosine fall to 1% over the last `decay` share."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    start = 1.0 - config.decay
    if fraction <= start or config.decay == 0:
        return config.learning_rate * warm
    late = (fraction - start) / config.decay
    return config.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, late))))


class PlannedRates:
    """Those of `learning_rate`, which follow from the step and the fraction alone."""

    def __init__(self, optimizers: list[Optimizer], config: OptimizerConfig) -> None:
        self._optimizers, self._config = optimizers, config

    def set(self, step: int, fraction: float) -> None:
        config = self._config
        set_rates(self._optimizers, learning_rate(config, step, fraction) / config.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is nothing to load."""


class NamedRates:
    """Those of one of torch's schedulers, or a linear warm-up over `warmup_steps`, by name; none: constant."""

    def __init__(self, optimizer: Optimizer, name: str | None, args: dict[str, Any]) -> None:
        kinds = {key: kind for key, kind in vars(lr_scheduler).items() if _counts_steps(kind)}
        try:
            if name in (None, "LinearWarmupLRScheduler"):
                self._scheduler: Any = lr_scheduler.LambdaLR(optimizer, _warm_up(**args))
            elif name in kinds:
                self._scheduler = kinds[name](optimizer, **args)
            else:
                raise InvalidInputError(f"There is no lr_scheduler {name}.{did_you_mean(str(name), kinds)}")
        except TypeError as error:
            raise InvalidInputError(f"lr_scheduler {name} does not take these arguments: {error}.") from error

    def set(self, step: int, fraction: float) -> None:
        while self._scheduler.last_epoch < step:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {key: value for key, value in self._scheduler.state_dict().items() if key != "lr_lambdas"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = self._scheduler.state_dict()
        self._scheduler.load_state_dict({**own, **state_dict})


def _counts_steps(kind: Any) -> bool:
    """Whether this is a scheduler that needs nothing but the number of steps."""
    named = isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler)
    return named and kind not in (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)


def _warm_up(warmup_steps: int = 0) -> Any:
    return lambda step: min(1.0, (step + 1) / max(1, warmup_steps))
