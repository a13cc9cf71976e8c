"""The engine: one model, one worker thread, a bounded queue of jobs with ids, progress and cancel.

A job never runs inside a web request: the page (and later the API) submit it, look at it and cancel it by its id.
Whatever goes wrong in one job ends that job alone.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from trellis.app.generation import generate_files
from trellis.app.jobs import Job, JobState, JobView
from trellis.app.request import GenerationRequest
from trellis.conditioning import load_picture
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.progress import Progress, StepInfo

if TYPE_CHECKING:
    from trellis.pipeline import ImageTo3D

QUEUE_LIMIT = 8  # waiting and running jobs together
MAX_PICTURES = 16
KEPT_ASSETS = 4  # a real asset takes about 70 MB
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

    `load_pipeline` is called in the worker thread (again after a failure). Every job has a folder under `folder`, named
    by its id, with its pictures, `request.json`, the result files and `result.json`. All methods may be called from any
    thread and return at once.
    """

    def __init__(
        self, load_pipeline: "Callable[[], ImageTo3D]", folder: Path, *, model: str, queue_limit: int = QUEUE_LIMIT
    ) -> None:
        self.model = model
        self._load_pipeline = load_pipeline
        self._pipeline: ImageTo3D | None = None
        self._folder = folder
        self._queue_limit = queue_limit
        self._jobs: dict[str, Job] = {}
        self._removed: set[str] = set()  # their folders go when they end
        self._lock = threading.RLock()
        self._submitting = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._closed = False

    def submit(self, request: GenerationRequest, pictures: Sequence[str | Path | bytes | Image.Image]) -> str:
        """Queue a job for one or more pictures and return its id.

        Raises InvalidInputError for a picture that cannot be used, QueueFullError when the queue is full.
        """
        if not 1 <= len(pictures) <= MAX_PICTURES:
            raise InvalidInputError(f"Give between 1 and {MAX_PICTURES} pictures, not {len(pictures)}.")
        with self._submitting:  # one at a time, so that the check for room holds until the job is in
            self._check_room()
            images = [load_picture(picture)[0] for picture in pictures]
            return self._queue(Job.create(request, images, root=self._folder, model=self.model))

    def extract(self, job_id: str, values: Mapping[str, Any]) -> str:
        """Queue a job for other files of a finished job's asset, without sampling it again, and return its id.

        `values` are options of the files; what they leave out is at its default. Raises UnknownJobError,
        InvalidInputError for a bad option or an asset that is not kept any more, QueueFullError.
        """
        with self._submitting:
            self._check_room()
            with self._lock:  # the asset cannot go in between
                source = self._find(job_id)
                request = source.request.with_files(values)
                if not source.kept_file.is_file():
                    raise InvalidInputError("The asset of this job is not kept any more: generate it again.")
                job = Job.create_again(request, source, root=self._folder, model=self.model)
            return self._queue(job)

    def _queue(self, job: Job) -> str:
        with self._lock:
            self._jobs[job.id] = job
        self._worker.submit(self._run, job).add_done_callback(lambda future: self._settle(job, future))
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
                kept=job.state is JobState.DONE and job.kept_file.is_file(),
                draft=job.draft,
            )

    def views(self) -> list[JobView]:
        """All jobs at this moment, the oldest first."""
        with self._lock:
            return [self.view(job_id) for job_id in self._jobs if job_id not in self._removed]

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

    def close(self) -> None:
        """Cancel all jobs and wait for the worker to end."""
        with self._submitting, self._lock:
            self._closed = True
            for job in self._unfinished():
                self._stop(job)
        self._worker.shutdown(wait=True)
        self._give_up_assets(0)  # nobody can ask for them after a new start

    def _find(self, job_id: str) -> Job:
        if job_id not in self._jobs or job_id in self._removed:
            raise UnknownJobError("This job is not known; it may belong to an earlier start of the program.")
        return self._jobs[job_id]

    def _unfinished(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if not job.state.final]

    def _stop(self, job: Job) -> None:
        job.cancel.cancel()
        if job.state is JobState.QUEUED:
            job.finish(JobState.CANCELLED, message="Cancelled.")

    def _delete(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        self._jobs.pop(job.id, None)
        self._removed.discard(job.id)

    def _give_up_assets(self, count: int) -> None:
        """Delete the kept assets of all ended jobs but the last `count` that have one."""
        with self._lock:
            ended = [job for job in self._jobs.values() if job.state.final and job.kept_file.is_file()]
            for job in sorted(ended, key=lambda job: job.finished or 0.0, reverse=True)[count:]:
                job.kept_file.unlink(missing_ok=True)

    def _check_room(self) -> None:
        with self._lock:
            if self._closed:
                raise QueueFullError("The program is shutting down.")
            if len(self._unfinished()) >= self._queue_limit:
                raise QueueFullError(f"{self._queue_limit} jobs are waiting already; try again in a moment.")

    def _run(self, job: Job) -> JobOutcome:
        with self._lock:
            if job.state.final:
                raise Cancelled("Cancelled.")
            job.start()
        return self.carry_out(job)

    def carry_out(self, job: Job) -> JobOutcome:
        """Make the files of a job that has been started; a subclass may do this in another process."""
        progress = Progress(lambda info: self._record(job, info), job.cancel)
        pipeline = self._loaded(progress)
        return generate_files(
            pipeline, job.pictures, request=job.request, folder=job.folder, keep=True, progress=progress
        )

    def _loaded(self, progress: Progress) -> "ImageTo3D":
        if self._pipeline is None:
            progress.report(LOADING_STAGE, 0, 1)
            self._pipeline = self._load_pipeline()
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
                job.finish(JobState.CANCELLED, message="Cancelled.")
            else:
                job.finish(JobState.FAILED, message=explain(error))
            if job.id in self._removed:
                self._delete(job)
            self._give_up_assets(KEPT_ASSETS)
        if error is not None and not isinstance(error, TrellisError):
            _log.error("Job %s failed", job.id, exc_info=error)


def explain(error: BaseException) -> str:
    """One sentence for people; the log has the rest."""
    if isinstance(error, TrellisError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There was not enough memory; a smaller texture size or a smaller model needs less."
    return f"Something went wrong inside the program ({type(error).__name__}); the log has the details."
