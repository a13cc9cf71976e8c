"""The program of a worker process: it opens a pipeline and carries out one job after the other.

Lines of JSON go both ways. Orders come on what was standard input: {"order": "open"}, {"order": "run", "job",
"setup" (options of the pipeline, which go before those of the start), "pictures", "prompt" (null, or in place of
pictures), "asset" and "mesh" (the file that it starts from, or null), "options", "folder", "name" (of the files),
"write" (whether files are written, or the asset is made alone)} and {"order": "cancel", "job"}. Reports leave on what
was standard output: "begun", "step", "opened", "done" and "failed". Whatever a library
prints goes to standard error. When that input ends, so does the process, at once.
"""

import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import psutil

from trellis.app.failures import describe
from trellis.app.logs import configure_logging
from trellis.errors import TrellisError
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.stages import Stage

UNREPORTED = 70  # exit code of a process that has no memory left to say how its job ended

_log = logging.getLogger(__name__)


class Worker:
    """Carries out orders one after the other in a thread, while the thread that calls `listen` reads the next ones."""

    def __init__(self, load: Callable[..., Any], options: dict[str, Any], channel: TextIO) -> None:
        self._load = load
        self._options = options
        self._channel = channel
        self._pipeline: Any = None
        self._setup: dict[str, Any] = {}
        self._tokens: dict[str, CancelToken] = {}
        self._writing = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

    def listen(self, orders: TextIO) -> None:
        """Read orders until the other side is gone, then end the process: its work has nobody to go to."""
        for line in orders:
            order = json.loads(line)
            job = order.get("job", "")
            if order["order"] == "cancel":
                self._tokens.get(job, CancelToken()).cancel()
                continue
            self._tokens[job] = CancelToken()
            self._thread.submit(self.carry_out, order).add_done_callback(partial(self.settle, job))
        os._exit(0)

    def settle(self, job: str, future: "Future[dict[str, Any]]") -> None:
        """Report how an order ended; the log has the cause of what nobody expected."""
        self._tokens.pop(job, None)
        error = future.exception()
        try:
            if error is not None and not isinstance(error, (TrellisError, BrokenPipeError)):
                _log.error("Job %s failed", job, exc_info=error)
            self.report(future.result() if error is None else describe(error))
        except MemoryError:
            os._exit(UNREPORTED)  # without a word the other side would wait for ever
        except BrokenPipeError:
            os._exit(0)  # the other side has gone, and nobody waits

    def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """The final report of an order."""
        self.report({"report": "begun"})
        if order["order"] == "open":
            return {"report": "opened", "plan": resolved_plan(self.opened(Progress(), {}))}
        from trellis.app.generation import generate_files
        from trellis.app.request import read_request

        progress = Progress(self.tell_step, self._tokens[order["job"]])
        pipeline = self.opened(progress, order["setup"])
        outcome = generate_files(
            pipeline,
            order["prompt"] or [Path(path) for path in order["pictures"]],
            asset=order["asset"] and Path(order["asset"]),
            mesh=order["mesh"] and Path(order["mesh"]),
            request=read_request(order["options"]),
            folder=Path(order["folder"]),
            name=order["name"],
            keep=True,
            write=order["write"],
            progress=progress,
        )
        return {
            "report": "done",
            "files": {kind: str(path) for kind, path in outcome.files.items()},
            "notes": list(outcome.notes),
            "likeness": outcome.likeness,
            "outside": outcome.outside,
            "notice": outcome.notice,
            "plan": resolved_plan(pipeline),
        }

    def opened(self, progress: Progress, setup: dict[str, Any]) -> Any:
        """The pipeline, opened at its first use and whenever another setup is asked for."""
        setup = self._options | setup
        if self._pipeline is None or self._setup != setup:
            if self._pipeline is not None:
                self._pipeline = None  # there may be no room for two
                gc.collect()
            progress.report(Stage.OPEN, 0, 1)
            self._pipeline, self._setup = self._load(**setup, progress=progress), setup
            progress.report(Stage.OPEN, 1, 1)
        return self._pipeline

    def tell_step(self, info: StepInfo) -> None:
        self.report({"report": "step", "stage": info.label, "step": info.step, "total": info.total})

    def report(self, message: dict[str, Any]) -> None:
        with self._writing:
            self._channel.write(json.dumps(message) + "\n")
            self._channel.flush()


def resolved_plan(pipeline: Any) -> dict[str, Any]:
    """How a pipeline is opened, in plain values: what a repetition needs to know, and what people are told.

    That is the accelerator's name, how many of its kind there are, and memory: free now, the most that tensors have
    taken of the accelerator (None without one), and the most RAM of this process.
    """
    runtime = getattr(pipeline, "runtime", None)
    if runtime is None:
        return {}
    import torch

    from trellis.memory import peak_memory_bytes
    from trellis.runtime import device_name, free_bytes, peak_allocated_bytes

    free = free_bytes(runtime.device)
    return {
        "model": pipeline.name,
        "device": str(runtime.device),
        "device_name": device_name(runtime.device),
        "devices": 1 if runtime.device.type == "cpu" else max(1, torch.accelerator.device_count()),
        "free_memory": psutil.virtual_memory().available if free is None else free,
        "precision": str(runtime.dtype).removeprefix("torch."),
        "attention": runtime.attention,
        "sparse_conv": runtime.sparse_conv,
        "spconv_algo": runtime.spconv_algo,
        "rasterizer": runtime.rasterizer,
        "preset": runtime.preset,
        "presets": runtime.presets,
        "residency": pipeline.host.plan.residency,
        "memory_plan": asdict(pipeline.host.plan),
        "torch": torch.__version__,
        "peak_memory": peak_memory_bytes(),
        "peak_device_memory": None if free is None else peak_allocated_bytes(runtime.device),
    }


def main(orders: TextIO) -> None:
    """Serve the orders that follow the line that says where the pipeline comes from.

    `orders` must not be the process's standard input (`trellis.app.worker_process` says why).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is for the parent, which ends this process
    # So is the end of a service, which is told to all its processes; unlike SIG_IGN, a handler is not handed on.
    signal.signal(signal.SIGTERM, lambda *_: None)
    channel = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    first = orders.readline()
    if not first:  # the other side has gone already
        return
    source = json.loads(first)
    configure_logging(source["log_level"])
    module, _, name = source["function"].partition(":")
    load = getattr(importlib.import_module(module), name)
    Worker(load, source["options"], channel).listen(orders)
