"""One process a card: how many there are, and starting them by torch's launcher."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from trellis.errors import InvalidInputError, TrellisError
from trellis.runtime import is_gpu, is_out_of_memory, restarts_of_job

_ADVICE = " Try a larger batch_split, a smaller max_num_voxels, or elastic."
PROGRAM = Path(__file__).resolve().parents[2] / "train.py"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machines:
    """How many machines train together, which this is, its processes (-1: one for every GPU), and where they meet."""

    count: int = 1
    rank: int = 0
    processes: int = -1
    address: str = "localhost"
    port: int = 12345

    def processes_here(self, device: torch.device) -> int:
        """How many processes are to be started here; 0 where this one is enough, or is one of them."""
        if is_one_of_several():
            return 0
        if not 0 <= self.rank < self.count or self.processes == 0 or self.processes < -1:
            raise InvalidInputError("num_gpus must be -1 or at least 1, node_rank less than num_nodes.")
        there = torch.get_device_module(device).device_count() if is_gpu(device) else None
        if there is not None and self.processes > there:
            raise InvalidInputError(f"There are {there} GPUs here, not {self.processes}.")
        wanted = self.processes if self.processes > 0 else there or 1
        return wanted if wanted * self.count > 1 else 0

    def launch(self, line: Sequence[str], processes: int, *, retries: int) -> bool:
        """Run this program's own line in several processes; where one dies all are begun again from the last state.

        False when they were asked to stop. Raises TrellisError when they have died more than `retries` times.
        """
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import main

        meeting = (
            ["--standalone", "--nnodes=1"]
            if self.count == 1
            else [f"--nnodes={self.count}", f"--node-rank={self.rank}", f"--master-addr={self.address}",
                  f"--master-port={self.port}"]
        )  # fmt: skip
        words = [*meeting, f"--nproc-per-node={processes}", f"--max-restarts={retries}", str(PROGRAM), *line]
        try:
            main(words)
        except SignalException:
            return False
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise TrellisError(
                f"Process {rank} ended with status {failure.exitcode} (see what it said above), so all were ended. The "
                "last saved state is whole: the same line goes on from it."
            ) from error
        return True


def is_one_of_several() -> bool:
    """Whether torch's launcher has begun this process: to it, another status than 0 means that it must be again."""
    return dist.is_torchelastic_launched()


def with_retries(work: Callable[[int], bool], retries: int) -> bool:
    """What `work` returns; what breaks off without a sentence of ours is begun again, from the last state.

    `work` is told how often that happened. One process of several leaves it to the launcher. Raises TrellisError when
    it has broken off more often than `retries` says.
    """
    before, retries = restarts_of_job(), 0 if is_one_of_several() else retries
    for attempt in range(retries + 1):
        try:
            return work(before + attempt)
        except RuntimeError as error:
            if attempt == retries:
                advice = _ADVICE if is_out_of_memory(error) else ""
                raise TrellisError(f"Training broke off {attempt + 1} times, at last by: {error}{advice}") from error
            logger.warning("training broke off, attempt %d of %d follows: %s", attempt + 2, retries + 1, error)
    raise AssertionError("there is at least one attempt")
