"""The parent's hold on a worker process (`trellis.app.worker`): start it, give it a job, cancel it, end it."""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trellis.app.failures import WorkerDiedError, failure
from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job, JobOutcome
from trellis.errors import Cancelled
from trellis.progress import CancelToken, StepInfo

POLL_SECONDS = 0.05
CANCEL_PATIENCE = 30.0  # seconds that a cancelled step may still take; loading weights is one step
IDLE_SECONDS = 1800.0  # without a job; then the process ends, and the weights leave the memory
# The first line of input carries the module search path, so that the child finds what this process finds.
# The pipe gives up its place as standard input: on Windows, loading a library (torch, say) asks what standard input is,
# and gets no answer while another thread waits for a line of it.
BOOT = (
    "import json, os, sys; orders = os.fdopen(os.dup(0), encoding='utf-8'); "
    "os.dup2(os.open(os.devnull, os.O_RDONLY), 0); first = orders.readline() or sys.exit(); "
    "sys.path[:] = json.loads(first); "
    "from trellis.app.worker import main; main(orders)"
)

Report = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineSource:
    """A function "module:name" that opens a pipeline in the worker process, and its arguments (plain values).

    It also gets the job's `progress`.
    """

    function: str = "trellis.app.machine_options:open_pipeline"
    options: Mapping[str, Any] = field(default_factory=dict)


class Child:
    """One running process; `reports` ends with None when it is gone, `served` once it has carried out an order."""

    def __init__(self, source: PipelineSource) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # a group of its own: Ctrl+C does not reach it, its helpers end with it
        )
        self.served = False
        self.reports: queue.Queue[Report | None] = queue.Queue()
        threading.Thread(target=self._read, name="worker reports", daemon=True).start()
        self.send(sys.path)
        self.send(
            {
                "function": source.function,
                "options": dict(source.options),
                "log_level": logging.getLogger().getEffectiveLevel(),
            }
        )

    def send(self, message: Any) -> None:
        """Write one line; a process that is gone shows in `reports`, not here."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError, ValueError) as error:
            _log.debug("The worker process does not take orders any more: %s", error)

    def kill(self) -> int:
        """End the process and its helpers and return its exit code (negative: the signal that ended it)."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                _log.debug("The worker process %d had ended already", self.process.pid)
        else:
            self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError as error:  # what was still to be written has no reader
                    _log.debug("Closing a pipe of the worker process: %s", error)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.reports.put(json.loads(line))
        except ValueError as error:  # a line cut off by death, or the stream closed by `kill`
            _log.debug("The worker process's last report is unreadable: %s", error)
        self.reports.put(None)


class WorkerProcess:
    """A tool: a worker process that is started when it is needed and started anew after it died.

    `run`, `open` and `close` are called from one thread at a time. `patience` is how many seconds a cancelled job may
    take to end by itself before its process is killed.
    """

    at_once = 1

    def __init__(self, source: PipelineSource, *, patience: float = CANCEL_PATIENCE) -> None:
        self.patience = patience
        self.source = source
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        child = self._child
        return None if child is None or child.process.poll() is not None else child.process.pid

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        """Start the process and open the pipeline, so that the first job finds it ready; says how it was opened.

        Raises Cancelled, the pipeline's error, or WorkerDiedError when the process ends.
        """
        return dict(self._converse({"order": "open"}, lambda info: None, cancel)["plan"])

    def run(
        self,
        job: Job,
        *,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
        name: str = RESULT_NAME,
        write: bool = True,
    ) -> JobOutcome:
        """Carry out a job into its folder, as files `name.*`, on a pipeline that is opened as the job states it.

        Raises Cancelled, InvalidInputError, MemoryError, JobFailedError with what happened, or WorkerDiedError.
        """
        order = {
            "order": "run",
            "job": job.id,
            "setup": {"model": job.model} | job.request.setup,
            "pictures": [str(path.resolve()) for path in job.pictures],
            "prompt": job.prompt,
            "asset": None if job.asset is None else str(job.asset.resolve()),
            "mesh": None if job.mesh is None else str(job.mesh.resolve()),
            "options": job.request.stated,
            "folder": str(job.folder.resolve()),
            "name": name,
            "write": write,
        }
        report = self._converse(order, on_step, cancel)
        files = {kind: job.folder / Path(path).name for kind, path in report["files"].items()}
        told = {name: report[name] for name in ("plan", "likeness", "outside", "notice")}
        return JobOutcome(files, tuple(report["notes"]), **told)

    def close(self) -> None:
        """End the process, if it runs; the weights leave the memory with it."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _converse(self, order: Report, on_step: Callable[[StepInfo], None], cancel: CancelToken) -> Report:
        child = self._started()
        child.send(order)
        begun = False
        told: float | None = None
        while True:
            if cancel.cancelled and told is None:
                child.send({"order": "cancel", "job": order.get("job", "")})
                told = time.monotonic()
            if told is not None and time.monotonic() > told + self.patience:  # which becomes less at the end
                if "job" in order:
                    _log.warning("The cancelled job did not end within %g s: its process is ended", self.patience)
                self.close()
                raise Cancelled("The job was cancelled.")
            try:
                report = child.reports.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if report is None and child.served and not begun:  # it had died before, unnoticed
                self.close()
                return self._converse(order, on_step, cancel)
            if report is None:
                raise self._death(cancelled=cancel.cancelled)
            if report["report"] == "begun":
                begun = True
            elif report["report"] == "step":
                on_step(StepInfo.parse(report["stage"], report["step"], report["total"]))
            elif report["report"] == "failed":
                child.served = True
                error = failure(report)
                if isinstance(error, MemoryError):
                    self.close()  # what the failed job still holds goes with its process
                raise error
            else:
                child.served = True
                return report

    def _started(self) -> Child:
        if self.pid is None:
            self.close()
            self._child = Child(self.source)
            _log.info("Worker process %d starts", self._child.process.pid)
        assert self._child is not None
        return self._child

    def _death(self, *, cancelled: bool) -> Exception:
        assert self._child is not None
        code = self._child.kill()
        self._child = None
        if cancelled:
            return Cancelled("The job was cancelled.")
        _log.error("The worker process ended in the middle of a job (%s)", _reason(code))
        hint = "; that usually means that memory ran out: a smaller texture or model needs less" if code == -9 else ""
        return WorkerDiedError(
            f"The process that did the work ended ({_reason(code)}){hint}. The next job starts a new one."
        )


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
