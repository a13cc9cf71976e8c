"""The engine whose jobs run in a process of their own: whatever happens there, this process answers."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

from trellis.app.engine import QUEUE_LIMIT, Engine, JobOutcome
from trellis.app.executor import Executor
from trellis.app.history import HistoryLimits
from trellis.app.jobs import Job
from trellis.app.worker_process import CANCEL_PATIENCE, IDLE_SECONDS, PipelineSource, WorkerProcess
from trellis.errors import Cancelled, TrellisError
from trellis.progress import CancelToken

CLOSING_PATIENCE = 2.0

_log = logging.getLogger(__name__)


class WorkerEngine(Engine):
    """An engine that hands its jobs to worker processes with weights of their own, one process for each of `sources`.

    Every process carries out one job after the other; jobs begin in the order they came. A process that dies (a fault
    in native code, the system's out-of-memory killer) fails only its job; the next job starts a new one. After
    `idle_seconds` without a job the processes end (0: they stay). A cancelled job that does not end within `patience`
    seconds is ended with its process. `further_sources` says, once it is known how the first pipeline was opened (see
    `trellis.app.worker.resolved_plan`), where more processes open theirs.
    """

    def __init__(
        self,
        sources: PipelineSource | Sequence[PipelineSource],
        folder: Path,
        *,
        model: str,
        models: Sequence[str] = (),
        text_models: Sequence[str] = (),
        models_to_fetch: Sequence[str] = (),
        queue_limit: int = QUEUE_LIMIT,
        history: HistoryLimits | None = None,
        idle_seconds: float = IDLE_SECONDS,
        patience: float = CANCEL_PATIENCE,
        further_sources: Callable[[Mapping[str, Any]], Sequence[PipelineSource]] | None = None,
    ) -> None:
        sources = [sources] if isinstance(sources, PipelineSource) else list(sources)
        self._patience = patience
        self._further_sources = further_sources
        self._idle_seconds = idle_seconds
        self._idle: threading.Timer | None = None
        self._opening = CancelToken()
        self._preloading = False
        super().__init__(
            _never_called,
            folder,
            model=model,
            models=models,
            text_models=text_models,
            models_to_fetch=models_to_fetch,
            queue_limit=queue_limit,
            history=history,
            executor=Executor([WorkerProcess(source, patience=patience) for source in sources]),
        )

    @property
    def processes(self) -> list[WorkerProcess]:
        return self._executor.tools

    @property
    def process(self) -> WorkerProcess:
        """The first of the processes."""
        return self.processes[0]

    def preload(self) -> None:
        """Start the processes and open the pipeline now, without waiting for it; a failure is told by the first job."""
        self._preloading = True
        self._executor.submit_to_all(self._open, _log_preload)

    @property
    def opening(self) -> bool:
        return self._preloading

    def carry_out(self, job: Job, tool: WorkerProcess) -> JobOutcome:
        """Run the job in a worker process."""
        self._rest_later(None)
        try:
            outcome = tool.run(
                job.id,
                job.pictures,
                options=job.request.stated,
                folder=job.folder,
                on_step=lambda info: self._record(job, info),
                cancel=job.cancel,
                prompt=job.origin.prompt,
                setup=self.setup_of(job),
            )
            with self._lock:
                job.take_plan(tool.plan)
            self._learn(tool.plan)
            return outcome
        finally:
            self._rest_later(self._idle_seconds)

    def close(self) -> None:
        """Cancel all jobs and end the processes."""
        for process in self.processes:
            process.patience = CLOSING_PATIENCE
        self._opening.cancel()
        super().close()
        self._rest_later(None)
        for process in self.processes:
            process.close()

    def _open(self, process: WorkerProcess) -> None:
        try:
            process.open(self._opening)
            self._learn(process.plan)
        finally:
            self._preloading = False
            self._rest_later(self._idle_seconds)

    def _learn(self, plan: dict[str, Any]) -> None:
        """Take note of how a pipeline was opened; the first time there may be devices for more processes."""
        self.plan = plan
        with self._lock:
            ask, self._further_sources = self._further_sources, None
        for source in ask(plan) if ask is not None and not self._closed else ():
            self._executor.add(WorkerProcess(source, patience=self._patience), self._open, _log_preload)

    def _rest_later(self, seconds: float | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if seconds and not self._closed:
            self._idle = threading.Timer(seconds, self._rest)
            self._idle.daemon = True
            self._idle.start()

    def _rest(self) -> None:
        with self._submitting:
            if self.busy or self._closed:
                return
            _log.info("No job for %g s: the worker processes end", self._idle_seconds)
            self._executor.submit_to_all(WorkerProcess.close, _log_preload)


def _never_called() -> NoReturn:
    raise AssertionError("The pipeline is opened in the worker process.")


def _log_preload(future: "Future[None]") -> None:
    error = future.exception()
    if error is not None and not isinstance(error, TrellisError):
        _log.error("Opening the model failed", exc_info=error)
    elif error is not None and not isinstance(error, Cancelled):
        _log.error("%s", error)
