"""The engine: one model, one worker thread, a bounded queue of jobs with ids, progress and cancel.

A job never runs inside a web request: the page (and later the API) submit it, look at it and cancel it by its id.
Whatever goes wrong in one job ends that job alone.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trellis.app.executor import Executor
from trellis.app.generation import generate_files
from trellis.app.history import HistoryLimits, restore_jobs, surplus_jobs
from trellis.app.job_sources import Models
from trellis.app.jobs import CUT_OFF, Job, JobOrigin, JobState, JobView
from trellis.app.picture_reader import PictureReader
from trellis.app.request import GenerationRequest
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.progress import Progress, StepInfo
from trellis.runtime import is_out_of_memory

if TYPE_CHECKING:
    from trellis.pipeline import ImageTo3D

QUEUE_LIMIT = 8  # waiting and running jobs together
KEPT_ASSETS = 8  # a real asset takes about 70 MB
UPLOADS = "uploads"  # the folder, beside those of the jobs, of what clients sent
LOADING_STAGE = "load model"

JobOutcome = tuple[dict[str, Path], tuple[str, ...]]  # files by format, notes for the user

_log = logging.getLogger(__name__)


class QueueFullError(TrellisError):
    """Too many jobs are waiting already; try again when one has finished."""


class UnknownJobError(TrellisError, KeyError):
    """No job of this id is known."""

    def __str__(self) -> str:
        return str(self.args[0])


class Engine:
    """Runs jobs one after the other on a pipeline that is loaded when the first job needs it.

    `load_pipeline` is called in the worker thread (again after a failure), with what a job states of its setup (model,
    preset, precision) as keywords. Every job has a folder under `folder`, named by its id, with its pictures,
    `request.json`, the result files and `result.json`; jobs of earlier starts are read back from there, as far as the
    limits of the history let them stay. `models` are names that jobs may ask for besides `model`, `text_models`
    those among them that take a prompt, `models_to_fetch` those that are not here yet. `executor` carries jobs
    out (here one at a time: there is one pipeline); `pictures` reads what clients send. All methods may be called from
    any thread and return at once.
    """

    def __init__(
        self,
        load_pipeline: "Callable[..., ImageTo3D]",
        folder: Path,
        *,
        model: str,
        models: Sequence[str] = (),
        text_models: Sequence[str] = (),
        models_to_fetch: Sequence[str] = (),
        queue_limit: int = QUEUE_LIMIT,
        history: HistoryLimits | None = None,
        executor: Executor[Any] | None = None,
    ) -> None:
        names = tuple(dict.fromkeys((model, *models)))
        self.models = Models(names, frozenset(text_models), frozenset(models_to_fetch))
        self.plan: dict[str, Any] = {}  # how the model of the last job was opened
        self.pictures = PictureReader(folder / UPLOADS)
        self._load_pipeline = load_pipeline
        self._pipeline: ImageTo3D | None = None
        self._setup: dict[str, Any] = {}
        self._folder = folder
        self._queue_limit = queue_limit
        self._history = history or HistoryLimits()
        self._jobs: dict[str, Job] = {job.id: job for job in restore_jobs(folder)}
        self._latest = max((job.created for job in self._jobs.values()), default=0.0)
        self._removed: set[str] = set()  # their folders go when they end
        self._lock = threading.RLock()
        self._submitting = threading.Lock()
        self._executor: Executor[Any] = executor or Executor([None])
        self._closed = False
        self._forget_surplus()

    def submit(
        self,
        request: GenerationRequest,
        pictures: Sequence[Path] = (),
        *,
        prompt: str | None = None,
        model: str | None = None,
        owner: str = "",
        name: str = "",
    ) -> str:
        """Queue a job for pictures of one object, or for a prompt, and return its id.

        pictures: files that the reader made, which the job has under names of its own; model: one of `models`
        (default: the first that takes what is given); owner and name: see `JobOrigin`. Raises InvalidInputError for a
        prompt or model that cannot be used, QueueFullError when the queue is full, StorageError when the results cannot
        be written.
        """
        origin = JobOrigin(self.models.choose(model, prompt=prompt, pictures=len(pictures)), owner, name, prompt)
        with self._submitting:  # one at a time, so that the check for room holds until the job is in
            self._check_room()
            created = self._moment()
            return self._queue(Job.create(request, pictures, root=self._folder, origin=origin, created=created))

    def extract(self, job_id: str, values: Mapping[str, Any], *, owner: str | None = None) -> str:
        """Queue a job for other files of a finished job's asset, without sampling it again, and return its id.

        `values` are options of the files; what they leave out is at its default. owner: that of the job if None. Raises
        UnknownJobError, InvalidInputError for a bad option or an asset that is not kept any more, QueueFullError,
        StorageError.
        """
        with self._submitting:
            self._check_room()
            with self._lock:  # the asset cannot go in between
                source = self._find(job_id)
                request = source.request.with_files(values)
                if not source.has_asset:
                    raise InvalidInputError("The asset of this job is not kept any more: generate it again.")
                owner = source.origin.owner if owner is None else owner
                job = Job.create_again(request, source, root=self._folder, owner=owner, created=self._moment())
            return self._queue(job)

    def _moment(self) -> float:
        """Now, in seconds since 1970, but later than every job: clocks are coarse, and are set back now and then."""
        self._latest = max(time.time(), math.nextafter(self._latest, math.inf))
        return self._latest

    def _queue(self, job: Job) -> str:
        with self._lock:
            self._jobs[job.id] = job
        self._executor.submit(partial(self._run, job), partial(self._settle, job))
        return job.id

    def view(self, job_id: str) -> JobView:
        """The job at this moment; raises UnknownJobError."""
        with self._lock:
            job = self._find(job_id)
            ahead = 0
            if job.state is JobState.QUEUED:
                ahead = self._unfinished().index(job)
            return JobView(
                id=job.id,
                state=job.state,
                ahead=ahead,
                stages=tuple(job.stages),
                seconds=job.seconds,
                message=job.message,
                notes=job.notes,
                files=dict(job.files),
                kept=job.state is JobState.DONE and job.has_asset,
                draft=job.draft,
                framed=job.framed,
                origin=job.origin,
                request=job.request,
                created=job.created,
                pace=job.pace,
            )

    def views(self) -> list[JobView]:
        """All jobs at this moment, the oldest first."""
        with self._lock:
            return [self.view(job_id) for job_id in self._jobs if job_id not in self._removed]

    def history(self, owner: str) -> list[JobView]:
        """The finished jobs of an owner, the newest first."""
        with self._lock:
            return [view for view in reversed(self.views()) if _belongs(view, owner) and view.state is JobState.DONE]

    @property
    def opening(self) -> bool:
        """The model is being opened before any job asks for it: `plan` is not known yet, but will be."""
        return False

    @property
    def busy(self) -> bool:
        """A job is waiting or running; takes no lock, so that it answers at once whatever else happens."""
        return bool(self._unfinished())

    def remove(self, job_id: str) -> None:
        """Forget a job and delete its folder, now or, when it has not ended yet, as soon as its cancel took effect."""
        with self._lock:
            job = self._find(job_id)
            self._stop(job)
            self._removed.add(job_id)
            if job.state.final:
                self._delete(job)

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once while it waits, at its next step while it runs; a finished job stays as it is."""
        with self._lock:
            self._stop(self._find(job_id))
            self._forget_surplus()

    def close(self) -> None:
        """Stop all jobs, which are told that the program ended before them, and wait for their end."""
        with self._submitting, self._lock:
            self._closed = True
            for job in self._unfinished():
                job.cut_off = job.cut_off or not job.cancel.cancelled
                self._stop(job)
        self.pictures.close()
        self._executor.close()

    def _find(self, job_id: str) -> Job:
        if job_id not in self._jobs or job_id in self._removed:
            raise UnknownJobError("This job is not known; it may have been deleted.")
        return self._jobs[job_id]

    def _unfinished(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if not job.state.final]

    def _stop(self, job: Job) -> None:
        job.cancel.cancel()
        if job.state is JobState.QUEUED:
            self._end_early(job)

    def _end_early(self, job: Job) -> None:
        """End a job as what stopped it: somebody's wish, or the end of the program."""
        if job.cut_off:
            job.finish(JobState.FAILED, message=CUT_OFF)
        else:
            job.finish(JobState.CANCELLED, message="Cancelled.")

    def _delete(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        self._jobs.pop(job.id, None)
        self._removed.discard(job.id)

    def _give_up_assets(self, count: int) -> None:
        """Delete the kept assets of all ended jobs but the last `count` that have one."""
        with self._lock:
            ended = [job for job in self._jobs.values() if job.state.final and job.has_asset]
            for job in sorted(ended, key=lambda job: job.created, reverse=True)[count:]:
                job.give_up_asset()

    def _forget_surplus(self) -> None:
        """Delete what is beyond the limits of the history."""
        with self._lock:
            surplus = surplus_jobs(self._jobs.values(), self._history)
            for job in surplus:
                self._delete(job)
        if surplus:
            _log.info("Old results deleted: %d (--keep-days, --keep-jobs and --keep-gb say what stays)", len(surplus))

    def _check_room(self) -> None:
        with self._lock:
            if self._closed:
                raise QueueFullError("The program is shutting down.")
            if len(self._unfinished()) >= self._queue_limit:
                raise QueueFullError(f"{self._queue_limit} jobs are waiting already; try again in a moment.")

    def _run(self, job: Job, tool: Any) -> JobOutcome:
        with self._lock:
            if job.state.final:
                raise Cancelled("Cancelled.")
            job.start()
        return self.carry_out(job, tool)

    def carry_out(self, job: Job, tool: Any) -> JobOutcome:
        """Make the files of a job that has been started, with a tool of the executor: here none."""
        progress = Progress(lambda info: self._record(job, info), job.cancel)
        pipeline = self._loaded(progress, self.setup_of(job))
        source = job.pictures if job.origin.prompt is None else job.origin.prompt
        return generate_files(pipeline, source, request=job.request, folder=job.folder, keep=True, progress=progress)

    def setup_of(self, job: Job) -> dict[str, Any]:
        """What a job states about how its model is opened, as far as it differs from how the program was started."""
        other = {} if job.origin.model == self.models.default else {"model": job.origin.model}
        return other | job.request.setup

    def _loaded(self, progress: Progress, setup: dict[str, Any]) -> "ImageTo3D":
        if self._pipeline is None or self._setup != setup:
            self._pipeline = None  # there may be no room for two
            progress.report(LOADING_STAGE, 0, 1)
            self._pipeline, self._setup = self._load_pipeline(**setup), setup
            progress.report(LOADING_STAGE, 1, 1)
        return self._pipeline

    def _record(self, job: Job, info: StepInfo) -> None:
        with self._lock:
            job.record_step(info)

    def _settle(self, job: Job, future: Future[JobOutcome]) -> None:
        error = future.exception()
        with self._lock:
            if job.state.final:
                return
            if error is None:
                files, notes = future.result()
                job.finish(JobState.DONE, files=files, notes=notes)
            elif isinstance(error, Cancelled):
                self._end_early(job)
            else:
                job.finish(JobState.FAILED, message=explain(error))
            if job.id in self._removed:
                self._delete(job)
            self._give_up_assets(KEPT_ASSETS)
            self._forget_surplus()
        if error is not None and not isinstance(error, TrellisError):
            _log.error("Job %s failed", job.id, exc_info=error)


def _belongs(view: JobView, owner: str) -> bool:
    return view.origin.owner == owner


def explain(error: BaseException) -> str:
    """One sentence for people; the log has the rest."""
    if isinstance(error, TrellisError):
        return str(error)
    if is_out_of_memory(error):
        return "There was not enough memory; a smaller texture size or a smaller model needs less."
    return f"Something went wrong inside the program ({type(error).__name__}); the log has the details."
