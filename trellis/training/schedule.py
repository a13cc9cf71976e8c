"""How far a plan has come, and the learning rate and averaging factor that follow from it."""

import math

from trellis.training.config import OptimizerConfig


def plan_fraction(config: OptimizerConfig, step: int, seconds: float) -> float:
    """Share of the plan that is done, 0..1: the larger of steps and seconds."""
    by_steps = step / config.steps if config.steps else 0.0
    by_time = seconds / config.seconds if config.seconds else 0.0
    return min(1.0, max(by_steps, by_time))


def learning_rate(config: OptimizerConfig, step: int, fraction: float) -> float:
    """Linear warm-up, plateau, then a cosine fall to 1% over the last `decay` share."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    start = 1.0 - config.decay
    if fraction <= start or config.decay == 0:
        return config.learning_rate * warm
    late = (fraction - start) / config.decay
    return config.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, late))))


def ema_decay(config: OptimizerConfig, step: int) -> float:
    """Averaging factor: grows as (1 + step) / (10 + step) up to `ema`."""
    return min(config.ema, (1 + step) / (10 + step))
