"""The head's hold on the worker of one accelerator: start it, give it jobs, take their files, cancel, end it."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from trellis.app.cluster.node import Files, inputs_of
from trellis.app.failures import WorkerDiedError, failure
from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job, JobOutcome
from trellis.app.storage import storing
from trellis.app.worker_process import CANCEL_PATIENCE, POLL_SECONDS
from trellis.atomic import written_aside
from trellis.errors import Cancelled
from trellis.progress import CancelToken, StepInfo

START_SECONDS = 120.0  # in which a node must have begun what it is asked for

_log = logging.getLogger(__name__)


class NodeTool:
    """A tool: the worker of one accelerator of the node called `name`, started when it is needed and after it was lost.

    start: starts it, and returns the actor; keep: assets themselves come back with their files.
    """

    def __init__(self, name: str, start: Callable[[], Any], *, keep: bool) -> None:
        self.patience = CANCEL_PATIENCE
        self.at_once = 1
        self.name = name
        self._start = start
        self._keep = keep
        self._room = 1  # of the worker, while nothing is wrong with it
        self.false_starts = 0  # in a row
        self._actor: Any = None
        self._calls = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        """Start the worker and open the model there; raises what `run` does."""
        return self._converse("open", (), Path(), lambda info: None, cancel).plan

    def run(
        self,
        job: Job,
        *,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
        name: str = RESULT_NAME,
        write: bool = True,
    ) -> JobOutcome:
        """Carry out a job, whose files appear in its folder all or not at all; the node writes them by itself.

        Raises Cancelled, InvalidInputError, MemoryError, JobFailedError, StorageError, or WorkerDiedError where worker,
        node or the way to it is gone.
        """
        assert write
        return self._converse("run", (job, inputs_of(job), name, self._keep), job.folder, on_step, cancel)

    def close(self) -> None:
        """End the worker, unless it has something to do."""
        with self._lock:
            if self._actor is not None and not self._calls:
                self._end()

    def idle_for(self) -> float:
        """Seconds since a worker that runs had something to do; 0 for others."""
        return time.monotonic() - self._last if self._actor is not None and not self._calls else 0.0

    def admit(self) -> bool:
        """Give the worker jobs again after one died there; whether that is new."""
        new, self.at_once = not self.at_once, self._room
        return new

    def _converse(
        self,
        method: str,
        arguments: tuple[Any, ...],
        folder: Path,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
    ) -> JobOutcome:
        from ray.exceptions import RayError

        actor = self._called()
        begun = False
        try:
            for report in self._reports(actor, method, arguments, cancel):
                begun, self.false_starts = True, 0
                if isinstance(report, list):
                    for info in report:
                        on_step(info)
                elif isinstance(report, tuple):
                    outcome, files, self._room = report
                    self.at_once = self._room
                    store_files(folder, files)
                    return replace(outcome, files={kind: folder / path.name for kind, path in outcome.files.items()})
                elif report is not None and "report" in report:
                    raise failure(report)
                elif report is not None:
                    store_files(folder, report)
            raise WorkerDiedError(f"{self.name} gave no result.")
        except WorkerDiedError:
            self.at_once = 0  # other workers first (`admit`)
            raise
        except RayError as error:
            self.at_once = 0
            self.false_starts += not begun
            self._give_up(actor)
            if cancel.cancelled:
                raise Cancelled("The job was cancelled.") from error
            _log.warning("%s: %s", self.name, error)
            reason = f"The worker on {self.name} was lost ({type(error).__name__})."
            raise WorkerDiedError(reason, begun=begun) from error
        finally:
            with self._lock:
                self._calls -= 1
                self._last = time.monotonic()

    def _reports(self, actor: Any, method: str, arguments: tuple[Any, ...], cancel: CancelToken) -> Iterator[Any]:
        """What the worker tells; raises Cancelled where it does not end in time, and Ray's errors."""
        import ray
        from ray.exceptions import GetTimeoutError

        call = secrets.token_hex(8)
        reports = getattr(actor, method).remote(call, *arguments)
        asked, begun, told = time.monotonic(), False, 0.0
        while True:
            if cancel.cancelled and not told:
                actor.cancel.remote(call)
                told = time.monotonic()
            if told and (not begun or time.monotonic() > told + self.patience):
                raise Cancelled("The job was cancelled.")
            if not begun and time.monotonic() > asked + START_SECONDS:
                raise GetTimeoutError("No worker has started; its accelerator may be in use.")
            if ray.wait([reports], timeout=POLL_SECONDS)[0]:
                begun = True
                yield ray.get(next(reports))

    def _called(self) -> Any:
        """The actor, for one call more."""
        with self._lock:
            self._calls += 1
            if self._actor is None:
                self._actor = self._start()
            return self._actor

    def _give_up(self, actor: Any) -> None:
        with self._lock:
            if self._actor is actor:
                self._end()

    def _end(self) -> None:
        import ray

        ray.kill(self._actor)
        self._actor = None


def store_files(folder: Path, files: Files) -> None:
    """Write files into a folder when all of them can be; raises StorageError."""
    with storing(folder), ExitStack() as stack:
        for name, content in files.items():
            content.tofile(stack.enter_context(written_aside(folder / Path(name).name)))
