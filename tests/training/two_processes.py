"""Run by torch's launcher: a configuration trained by processes that each hold a share of the network.

`two_processes.py CONFIG FOLDER DATA`; the run goes on from FOLDER's last state.
"""

import json
import sys
from pathlib import Path

import torch

from trellis.runtime import Runtime
from trellis.training.processes import joined
from trellis.training.run import RunOptions, train_released
from trellis.training.stages import released

if __name__ == "__main__":
    config, folder, data = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    released.must_be_split = lambda network, device: True
    runtime = Runtime(device=torch.device("cpu"), offline=True)
    with joined(runtime.device) as (processes, _):
        train_released(json.loads(config.read_text()), folder, [data], runtime, RunOptions(), processes)
