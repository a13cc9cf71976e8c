"""Engines for tests: on a pipeline of this process, and on worker processes with the fakes of `process_fakes`."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trellis.app.engine import Engine
from trellis.app.executor import Executor
from trellis.app.generation import RESULT_NAME, generate_files
from trellis.app.job_sources import Models
from trellis.app.jobs import Job, JobOutcome
from trellis.app.worker_process import CANCEL_PATIENCE, PipelineSource, WorkerProcess
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.stages import Stage


class PipelineTool:
    """A tool without a process: `load` opens a pipeline with what a job states besides `model`, the tool's own."""

    at_once = 1

    def __init__(self, load: Callable[..., Any], model: str) -> None:
        self.patience = 0.0
        self._load = load
        self._model = model
        self._pipeline: Any = None
        self._setup: dict[str, Any] = {}

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        return {}

    def run(
        self,
        job: Job,
        *,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
        name: str = RESULT_NAME,
        write: bool = True,
    ) -> JobOutcome:
        progress = Progress(on_step, cancel)
        setup = ({} if job.model == self._model else {"model": job.model}) | job.request.setup
        if self._pipeline is None or self._setup != setup:
            if self._pipeline is not None:
                self._pipeline = None
                gc.collect()
            progress.report(Stage.OPEN, 0, 1)
            self._pipeline, self._setup = self._load(**setup), setup
            progress.report(Stage.OPEN, 1, 1)
        source = job.pictures if job.prompt is None else job.prompt
        options: dict[str, Any] = {"request": job.request, "folder": job.folder, "name": name, "keep": True}
        options |= {"asset": job.asset, "mesh": job.mesh, "write": write}
        return generate_files(self._pipeline, source, progress=progress, **options)

    def close(self) -> None:
        self._pipeline = None


def named(model: str, models: Sequence[str] = (), texts: Sequence[str] = (), to_fetch: Sequence[str] = ()) -> Models:
    return Models(tuple(dict.fromkeys((model, *models))), frozenset(texts), frozenset(to_fetch))


def start_engine(load: Callable[..., Any], folder: Path, *, model: str = "fake", **options: Any) -> Engine:
    """An engine on one `PipelineTool`; `models`, `texts` and `to_fetch` are other names of models."""
    names = {key: options.pop(key) for key in ("models", "texts", "to_fetch") if key in options}
    return Engine(Executor([PipelineTool(load, model)]), folder, models=named(model, **names), **options)


def fake_source(folder: Path, **setup: Any) -> PipelineSource:
    """Where a worker process opens the pipeline that obeys the control file in `folder`."""
    options = {"folder": str(folder), "model": "fake"} | setup
    return PipelineSource("tests.unit.app.process_fakes:open_pipeline", options)


def start_workers(
    sources: Sequence[PipelineSource],
    folder: Path,
    *,
    writers: Sequence[PipelineSource] = (),
    patience: float = CANCEL_PATIENCE,
    idle_seconds: float = 0.0,
) -> Engine:
    """An engine on a worker process for each source, and on one for each of `writers` that writes files alone."""
    executor, writing = (
        Executor([WorkerProcess(source, patience=patience) for source in some], idle_seconds=idle_seconds)
        for some in (sources, writers)
    )
    return Engine(executor, folder, models=named("fake"), writers=writing)
