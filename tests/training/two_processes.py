"""A configuration trained by two processes that each hold a share of the network."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from trellis.runtime import Runtime
from trellis.training.processes import joined
from trellis.training.run import RunOptions, train_released
from trellis.training.stages import released

LAUNCHER = ("--standalone", "--nproc-per-node=2", __file__)


def main(words: Sequence[str]) -> int:
    """`CONFIG FOLDER DATA`, in one of the processes: the run goes on from FOLDER's last state.

    With LAUNCHER before them they start the processes.
    """
    if tuple(words[: len(LAUNCHER)]) == LAUNCHER:
        from torch.distributed.run import main as launch

        launch(list(words))
        return 0
    config, folder, data = map(Path, words)
    torch.set_num_threads(1)
    released.must_be_split = lambda network, device: True
    runtime = Runtime(device=torch.device("cpu"), offline=True)
    with joined(runtime.device) as (processes, _):
        train_released(json.loads(config.read_text()), folder, [data], runtime, RunOptions(), processes)
    return 0
