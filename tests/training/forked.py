"""`train.py` in processes that are forked from one that has its imports, which take most of the time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        __name__,
        "trellis.app.train_command",
        "trellis.training.run",
        "trellis.training.stages.flows",
        "transformers.models.dinov2_with_registers.modeling_dinov2_with_registers",
        "torch._dynamo",  # by every optimizer
    ]
)


class ForkedTraining:
    """What `trellis.training.nano` needs of `subprocess.Popen`, for the command `[python, train.py, options ...]`."""

    def __init__(self, command: Sequence[str], *, stdout: BinaryIO, stderr: int, cwd: Path) -> None:
        assert Path(command[1]) == cwd / "train.py" and stderr == subprocess.STDOUT
        self._process = _CONTEXT.Process(target=_train, args=(list(command[2:]), stdout.name))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("train.py", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _train(options: list[str], log: str) -> None:
    from trellis.app.train_command import main

    with Path(log).open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(main(options))
