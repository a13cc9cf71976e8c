"""A run from its configuration to its last file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.runtime import Runtime, is_gpu
from trellis.training import state
from trellis.training.processes import Processes
from trellis.training.released_config import parse_released
from trellis.training.settings import released_settings
from trellis.training.stages.released import Surroundings, create_released
from trellis.training.trainer import Trainer

LATEST, NONE = "latest", "none"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """How a run is begun, and when it ends early.

    load_dir: the run whose state is gone on from (None: its own folder); ckpt: LATEST, NONE or a step; again: of a run
    that broke off, when it was begun (time.time()): a state that was written since then goes before those; `tryrun`
    builds everything and ends, `profile` ends after a few steps; deadline: time.monotonic seconds; `fit` ends the plan
    there; ready: is told the trainer before it starts.
    """

    load_dir: Path | None = None
    ckpt: str = LATEST
    again: float | None = None
    precision: str = "auto"
    tryrun: bool = False
    profile: bool = False
    deadline: float | None = None
    fit: bool = False
    ready: Callable[[Trainer], None] = lambda trainer: None


def carry_out(trainer: Trainer, options: RunOptions) -> bool:
    """Go on where the options say, and train; True when the plan is done.

    Raises CheckpointError where there is no such state.
    """
    if options.ckpt not in (LATEST, NONE) and not options.ckpt.isdigit():
        raise InvalidInputError(f"--ckpt is {LATEST}, {NONE} or a step, not {options.ckpt}.")
    own = state.steps_saved(trainer.folder)
    broke_off = bool(own) and options.again is not None and state.written(trainer.folder, own[-1]) > options.again
    if broke_off or (options.ckpt == LATEST and (own or options.load_dir is not None)):
        trainer.resume(None if own else options.load_dir)  # begun from another, it goes on with its own state
    elif options.ckpt.isdigit():
        trainer.resume(options.load_dir, int(options.ckpt))
    logger.info("on %s: %s", trainer.device, trainer.summary())
    if trainer.processes.leads:
        _write_summaries(trainer)
    options.ready(trainer)
    if options.tryrun:
        return True
    if options.profile:
        trainer.profile(trainer.folder / "profile.json")
        return True
    return trainer.run(deadline=options.deadline, fit=options.fit, progress=Progress())


def _write_summaries(trainer: Trainer) -> None:
    for role, network in trainer.stage.modules.items():
        lines = [
            f"{name} {list(p.shape)} {'trained' if p.requires_grad else 'kept'}"
            for name, p in network.named_parameters()
        ]
        text = "\n".join([str(network), *lines, f"{sum(p.numel() for p in network.parameters()):,} parameters"])
        write_bytes(trainer.folder / f"{role}_model_summary.txt", (text + "\n").encode())


def half_precision(asked: str, mode: str | None, device: torch.device) -> torch.dtype | None:
    """What products are computed in; None: float32, which a configuration's `fp16_mode` of None asks for."""
    if mode is None or asked == "float32" or (asked == "auto" and not is_gpu(device)):
        return None
    if asked == "auto":
        return torch.bfloat16 if torch.get_device_module(device).is_bf16_supported() else torch.float16
    return torch.bfloat16 if asked == "bfloat16" else torch.float16


def train_released(
    values: Mapping[str, Any],
    folder: Path,
    roots: Sequence[Path],
    runtime: Runtime,
    options: RunOptions,
    processes: Processes | None = None,
) -> bool:
    """Train what a configuration in the published form says, on data folders; True when the plan is done.

    processes: those that have been joined, if there are several. Raises InvalidInputError for a configuration or data
    that cannot be used, CheckpointError for weights.
    """
    config, device, processes = parse_released(values), runtime.device, processes or Processes()
    half = half_precision(options.precision, config.trainer.fp16_mode, device)
    stage = create_released(config, Surroundings(device, processes, half, runtime, roots))
    settings = released_settings(config, device, half=half)
    return carry_out(Trainer(stage, settings, folder, device=device, processes=processes), options)
