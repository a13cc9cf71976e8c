"""Processes that write the files of an asset while another process makes the next one on the same accelerator."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job, JobOutcome
from trellis.app.presets import GIB
from trellis.app.worker_process import CANCEL_PATIENCE, PipelineSource, WorkerProcess
from trellis.progress import CancelToken, StepInfo

# What a process takes that writes the files of an asset of published size, and what a generation needs beside it.
CORES_A_WRITER, RAM_A_WRITER, DEVICE_A_WRITER, GENERATION_BYTES = 4, 4 * GIB, 3 * GIB, 8 * GIB


class MakerWithWriters:
    """A tool whose `run` is called from many threads: `maker` makes one asset at a time, others write their files.

    `writers` says, once it is known how the maker opened its model, who they are.
    """

    patience = CANCEL_PATIENCE

    def __init__(self, maker: WorkerProcess, writers: Callable[[Mapping[str, Any]], Sequence[WorkerProcess]]) -> None:
        self._maker, self._choose_writers = maker, writers
        self._writers: Sequence[WorkerProcess] = ()
        self._making = threading.Lock()
        self._idle = queue.SimpleQueue[WorkerProcess]()

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        """As `WorkerProcess.open`."""
        plan = self._maker.open(cancel)
        self._writers = self._choose_writers(plan)
        for writer in self._writers:
            self._idle.put(writer)
        return plan

    @property
    def jobs_at_once(self) -> int:
        """So many calls of `run` keep all processes busy."""
        return 1 + 2 * len(self._writers)

    def run(
        self,
        job: Job,
        *,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
        name: str = RESULT_NAME,
        write: bool = True,
    ) -> JobOutcome:
        """As `WorkerProcess.run`."""
        with self._making:
            cancel.raise_if_cancelled()
            made = self._maker.run(job, on_step=on_step, cancel=cancel, name=name, write=write and not self._writers)
        if made.files or not write:
            return made
        writer = self._idle.get()
        try:
            written = writer.run(job, on_step=on_step, cancel=cancel, name=name)
        finally:
            self._idle.put(writer)
        return replace(written, plan=made.plan)

    def close(self) -> None:
        """End all processes."""
        for process in (self._maker, *self._writers):
            process.close()


def writing_processes(source: PipelineSource, plan: Mapping[str, Any]) -> list[WorkerProcess]:
    """Processes that write the files of assets while another makes the next ones on the first accelerator.

    As many as cores, RAM and that accelerator have room for (`plan`: see `resolved_plan`). None on a CPU, where they
    would take the cores of what they wait for, and none where networks leave the accelerator to save its memory.
    """
    if plan.get("residency") != "keep" or plan.get("peak_device_memory") is None:
        return []
    count = min(
        (psutil.cpu_count() or 1) // CORES_A_WRITER,
        psutil.virtual_memory().available // RAM_A_WRITER,
        (plan["free_memory"] - GENERATION_BYTES) // DEVICE_A_WRITER,
    )
    return [WorkerProcess(source) for _ in range(count)]
