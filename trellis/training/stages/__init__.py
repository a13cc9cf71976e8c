"""The stages of training, by name."""

from collections.abc import Callable
from pathlib import Path

import torch

from trellis.training.config import TrainConfig
from trellis.training.pool import ALONE, Around
from trellis.training.processes import Processes
from trellis.training.stages.flows import Flows, StructureFlow
from trellis.training.stages.latent_vae import LatentVae
from trellis.training.stages.structure_vae import StructureVae
from trellis.training.trainer import Stage

_BUILDERS: dict[str, Callable[..., Stage]] = {
    "structure_vae": StructureVae,
    "latent_vae": LatentVae,
    "structure_flow": StructureFlow,
    "flows": Flows,
}


def create_stage(
    config: TrainConfig,
    runs: Path,
    *,
    device: torch.device,
    cache: Path | None = None,
    processes: Processes = ALONE,
) -> Stage:
    """The stage that `config` names; `runs` holds the finished stages that it builds on, `cache` made data."""
    return _BUILDERS[config.stage](config, Around(runs, device, cache, processes))
