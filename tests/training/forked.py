"""`train.py` in processes that are forked from one that has its imports, which take most of the time.

So are the processes that torch's launcher starts, whether `train.py` asks for it (`ForkedTraining`) or a test
(`launched`).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        __name__,
        "trellis.app.train_command",
        "trellis.training.run",
        "trellis.training.stages.released",
        "torch.distributed.run",
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


def launched(work: Callable[[list[str]], int], words: Sequence[str], log: Path) -> int:
    """The exit status of `work(words)` in a process of its own; what it and those that it launches say is in `log`.

    Each of these, which torch's launcher starts for a program and its words, is `work` with these words.
    """
    log.touch()
    process = _CONTEXT.Process(target=_launch, args=(work, list(words), str(log)))
    process.start()
    process.join()
    return process.exitcode or 0


def _launch(work: Callable[[list[str]], int], words: list[str], log: str) -> None:
    from torch.distributed import run

    launch = run.elastic_launch

    def launch_forked(config: Any, entrypoint: object) -> Callable[..., Any]:
        def start(*command: str) -> Any:  # -u, the program, its words
            return launch(replace(config, start_method="fork"), _work)(work, list(command[2:]))

        return start

    run.elastic_launch = launch_forked
    _write_to(log)
    sys.exit(work(words))


def _work(work: Callable[[list[str]], int], words: list[str]) -> None:
    status = work(words)
    if status:
        sys.exit(status)


def _train(options: list[str], log: str) -> None:
    from trellis.app.train_command import main

    _write_to(log)
    sys.exit(main(options))


def _write_to(log: str) -> None:
    with Path(log).open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
