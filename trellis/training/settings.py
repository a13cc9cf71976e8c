"""How a run goes, whatever is trained: one form of what both kinds of configuration say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trellis.errors import InvalidInputError, did_you_mean
from trellis.runtime import is_gpu
from trellis.training.config import TrainConfig, config_values
from trellis.training.numerics import LossScale, NormLimit, PercentileLimit
from trellis.training.optimizers import create_optimizers
from trellis.training.released_config import AdaptiveClip, Part, ReleasedConfig
from trellis.training.schedule import NamedRates, PlannedRates

# Settings of a stage that may change between the parts of a run.
_FREE = {"log_every", "evaluate_every", "save_every", "compile", "inputs", "export_seconds", "optimizer"}
_FUSED = ("Adam", "AdamW")
Parameters = list[nn.Parameter]


@dataclass(frozen=True)
class RunSettings:
    """Of one run.

    values: its configuration as it is kept in its folder; fixed: what of it shapes the weights, so that a run with
    another is not resumed; the plan ends after `steps` or `seconds` (0: no such limit); scale: None for training that
    needs none and does not wait for the device to look at every gradient; ema: rates of the averages, the first is
    exported; state_precision: of the moments in a file; *_every: steps, 0 for never.
    """

    values: Mapping[str, Any]
    fixed: Mapping[str, Any]
    steps: int
    optimizers: Callable[[Parameters], list[Optimizer]]
    rates: Callable[[list[Optimizer]], PlannedRates | NamedRates]
    limit: NormLimit
    ema: Sequence[float]
    log_every: int
    save_every: int
    seconds: float = 0.0
    scale: LossScale | None = None
    evaluate_every: int = 0
    sample_every: int = 0
    export_every: int = 0
    export_seconds: float = 0.0
    state_precision: str = "float32"

    def fraction(self, step: int, seconds: float) -> float:
        """Share of the plan that is done, 0..1: the larger of steps and seconds."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_time))


def stage_settings(config: TrainConfig, device: torch.device) -> RunSettings:
    """Those of a stage of the embedded model."""
    values, optimizer = config_values(config), config.optimizer
    return RunSettings(
        values=values,
        fixed={key: value for key, value in values.items() if key not in _FREE},
        steps=optimizer.steps,
        seconds=optimizer.seconds,
        optimizers=lambda parameters: create_optimizers(parameters, optimizer, device=device),
        rates=lambda optimizers: PlannedRates(optimizers, optimizer),
        limit=NormLimit(optimizer.max_norm),
        ema=(optimizer.ema,),
        log_every=config.log_every,
        save_every=config.save_every,
        evaluate_every=config.evaluate_every,
        export_seconds=config.export_seconds,
        state_precision=optimizer.state_precision,
    )


def released_settings(config: ReleasedConfig, device: torch.device, *, half: torch.dtype | None) -> RunSettings:
    """Those of a configuration in the published form; half: the precision of its products, None for float32."""
    args, scheduler = config.trainer, config.trainer.lr_scheduler
    name, values = (scheduler.name, scheduler.args) if scheduler else (None, {})
    scaled = half == torch.float16
    return RunSettings(
        values=config.values,
        fixed={"models": config.values["models"]},
        steps=args.max_steps,
        optimizers=lambda parameters: [_named_optimizer(parameters, args.optimizer, device)],
        rates=lambda optimizers: NamedRates(optimizers[0], name, values),
        limit=_limit(args.grad_clip, device),
        ema=(args.ema_rate,) if isinstance(args.ema_rate, float) else args.ema_rate,
        log_every=args.i_log,
        save_every=args.i_save,
        evaluate_every=args.i_save if args.held_out else 0,
        sample_every=args.i_sample,
        export_every=args.i_save,
        scale=LossScale(args.fp16_scale_growth if scaled else 0.0),
    )


def _named_optimizer(parameters: Parameters, chosen: Part, device: torch.device) -> Optimizer:
    kinds = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
    }
    if chosen.name not in kinds:
        raise InvalidInputError(f"There is no optimizer {chosen.name}.{did_you_mean(chosen.name, kinds)}")
    try:
        fused = {"fused": True} if chosen.name in _FUSED and is_gpu(device) else {}  # needs no memory besides
        return kinds[chosen.name](parameters, **{**fused, **chosen.args})
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"optimizer {chosen.name} does not take these arguments: {error}.") from error


def _limit(chosen: float | AdaptiveClip | None, device: torch.device) -> NormLimit:
    if isinstance(chosen, AdaptiveClip):
        args = chosen.args
        return PercentileLimit(args.max_norm, args.clip_percentile, args.buffer_size, device)
    return NormLimit(chosen)
