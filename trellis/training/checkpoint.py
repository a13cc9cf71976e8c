"""Training state on disk: weights, averages, optimiser moments and position, written aside and renamed."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.errors import CheckpointError
from trellis.training.ema import Ema

STATE_FILE = "state.pt"
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

logger = logging.getLogger(__name__)


@torch.no_grad()
def round_moments(optimizers: list[torch.optim.Optimizer], precision: str) -> None:
    """Round the moments to `precision` in place, so that a run goes on as one that was resumed would."""
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for key in MOMENTS:
                if key in state:
                    state[key].copy_(state[key].to(_TYPES[precision]))


def save_state(
    folder: Path,
    *,
    modules: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    ema: Ema,
    precision: str,
    position: dict[str, Any],
) -> None:
    """Write `state.pt` atomically; moments are stored in `precision`; `position` holds step, seconds and settings."""
    round_moments(optimizers, precision)
    packed = [
        {
            index: {k: v.to(_TYPES[precision]) if k in MOMENTS else v for k, v in state.items()}
            for index, state in optimizer.state_dict()["state"].items()
        }
        for optimizer in optimizers
    ]
    state = {"modules": modules.state_dict(), "ema": ema.state(), "moments": packed, **position}
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / (STATE_FILE + ".part")
    torch.save(state, aside)
    aside.replace(folder / STATE_FILE)


def load_state(folder: Path) -> dict[str, Any]:
    """The stored state on the CPU. Raises CheckpointError when there is none or it is damaged."""
    path = folder / STATE_FILE
    if not path.is_file():
        raise CheckpointError(f"There is nothing to resume in {folder}: {STATE_FILE} is missing.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def restore_state(
    state: dict[str, Any], *, modules: nn.Module, optimizers: list[torch.optim.Optimizer], ema: Ema
) -> None:
    """Put a state from `load_state` back into a freshly built run."""
    modules.load_state_dict(state["modules"])
    ema.load(state["ema"])
    for optimizer, moments in zip(optimizers, state["moments"], strict=True):
        groups = optimizer.state_dict()["param_groups"]
        # load_state_dict casts the moments to the parameters' type (float32), which is exact.
        optimizer.load_state_dict({"state": _widened(moments), "param_groups": groups})


def _widened(moments: dict[int, dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
    return {i: {k: v.float() if k in MOMENTS else v for k, v in state.items()} for i, state in moments.items()}
