"""Processes that write the files of an asset while another process makes the next one on the same accelerator."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from trellis.app.executor import Executor
from trellis.app.jobs import JobOutcome
from trellis.app.presets import GIB
from trellis.app.worker_process import PipelineSource, WorkerProcess

# What a process takes that writes the files of an asset of published size, and what a generation needs beside it.
CORES_A_WRITER, RAM_A_WRITER, DEVICE_A_WRITER, GENERATION_BYTES = 2.5, 4 * GIB, 3 * GIB, 8 * GIB


def carry_out_apart(makers: Executor, writers: Executor, work: Callable[..., JobOutcome]) -> JobOutcome:
    """What `work(tool, write=...)` makes of a job: all with one of `makers`, or the files with one of `writers`."""
    outcome = makers.carry_out(partial(work, write=not writers.tools))
    writers.learn(outcome.plan)
    if outcome.files:
        return outcome
    return replace(writers.carry_out(partial(work, write=True)), plan=outcome.plan)


def writing_processes(
    source: PipelineSource, plan: Mapping[str, Any], *, cores: int | None = None
) -> list[WorkerProcess]:
    """Processes that write the files of assets while another makes the next ones on the first accelerator.

    As many as `cores` (default: all that this process may use), RAM and that accelerator have room for (`plan`: see
    `resolved_plan`). None on a CPU, where they would take the cores of what they wait for, and none where
    networks leave the accelerator to save its memory, or where it has a limit, which each process would have for
    itself.
    """
    limited = source.options.get("memory_limit") is not None
    if limited or plan.get("residency") != "keep" or plan.get("peak_device_memory") is None:
        return []
    count = min(
        int((cores or len(psutil.Process().cpu_affinity())) / CORES_A_WRITER),
        psutil.virtual_memory().available // RAM_A_WRITER,
        (plan["free_memory"] - GENERATION_BYTES) // DEVICE_A_WRITER,
    )
    return [WorkerProcess(source) for _ in range(count)]
