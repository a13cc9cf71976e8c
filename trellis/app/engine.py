"""The engine: a bounded queue of jobs with ids, progress, cancel and history, which the tools of an executor carry out.

A job never runs inside a web request: page and interface submit it, look at it and cancel it by its id. Whatever goes
wrong in one job ends that job alone.
"""

import logging
import math
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from trellis.app.executor import Executor, Task, Tool
from trellis.app.failures import WorkerDiedError, explain
from trellis.app.history import HistoryLimits, restore_jobs, surplus_jobs
from trellis.app.job_sources import STARTS, Models, check_start, check_view, from_source, source_notes
from trellis.app.jobs import ASKED, CUT_OFF, GOES_ON, LONGEST_NAME, Job, JobOutcome, JobState, new_folder
from trellis.app.mesh_reader import MeshReader
from trellis.app.picture_reader import PictureReader
from trellis.app.request import AssetRequest, JobRequest
from trellis.app.storage import storing
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.progress import CancelToken, StepInfo

QUEUE_LIMIT = 8  # waiting and running jobs together
KEPT_ASSETS = 8  # a real asset takes about 70 MB
UNDO_SECONDS = 120.0  # a discarded job can be brought back for so long
UPLOADS = "uploads"  # the folder, beside those of the jobs, of what clients sent

_log = logging.getLogger(__name__)


class QueueFullError(TrellisError):
    """Too many jobs are waiting already; try again when one has finished."""


class UnknownJobError(TrellisError, KeyError):
    """No job of this id is known."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class _Entry:
    """A job, and what only the engine knows of it: the wish to stop it, and what comes with its end."""

    job: Job
    cancel: CancelToken = field(default_factory=CancelToken)
    task: Task | None = None  # what an executor was asked for last
    cut_off: bool = False  # the program ends before it
    removed: bool = False  # nobody sees it any more, and its folder goes
    discarded: threading.Timer | None = None  # nobody sees it, and its folder goes when the time is up

    @property
    def unfinished(self) -> bool:
        return not self.job.state.final

    @property
    def hidden(self) -> bool:
        return self.removed or self.discarded is not None


class Engine:
    """Queues jobs for the tools of `executor`; they begin in the order they came.

    Every job has a folder under `folder`, named by its id, with its pictures, `request.json`, the result files and
    `result.json`. Jobs of earlier starts are read back from there, as far as the limits of the history let them stay,
    and those that waited go on, as do those that had begun where the executor repeats jobs. `models` are those that
    jobs may ask for; `pictures` and `meshes` read what clients send. Where `writers` have tools, these write the files,
    while the executor's make the next asset. All methods may be called from any thread and return at once.
    """

    def __init__(
        self,
        executor: Executor,
        folder: Path,
        *,
        models: Models,
        writers: Executor | None = None,
        queue_limit: int = QUEUE_LIMIT,
        history: HistoryLimits | None = None,
    ) -> None:
        self.models = models
        self.executor = executor
        self.writers = Executor([]) if writers is None else writers
        self.uploads = folder / UPLOADS
        self.pictures = PictureReader(self.uploads)
        self.meshes = MeshReader()
        self.spent: dict[str, float] = {}  # seconds by stage, of jobs that ended in this start
        self._folder = folder
        self._queue_limit = queue_limit
        self._history = history or HistoryLimits()
        self._entries = {job.id: _Entry(job) for job in restore_jobs(folder, executor.repeats)}
        self._latest = max((entry.job.created for entry in self._entries.values()), default=0.0)
        self._lock = threading.RLock()
        self._submitting = threading.Lock()
        self._closed = False
        self._forget_surplus()
        for entry in self._unfinished():
            self._hand_in(entry)

    def submit(
        self,
        request: JobRequest,
        pictures: Sequence[Path] = (),
        *,
        prompt: str | None = None,
        model: str | None = None,
        owner: str = "",
        name: str = "",
        source: str | None = None,
        mesh: Path | None = None,
    ) -> str:
        """Queue a job for pictures of one object, or for a prompt, and return its id.

        pictures: files that the reader made, which the job has under names of its own; model: one of `models`
        (default: that of the source, else the first that takes what is given); owner and name: see `Job`; source: the
        id of the job, or mesh: the file, that it starts from, where its operation does that. Raises InvalidInputError
        for what cannot be used, QueueFullError when the queue is full, StorageError when the results cannot be written.
        """
        check_view(request, pictures)
        with self._submitting:  # one at a time, so that the check for room holds until the job is in
            self._check_room()
            with self._lock:  # what it starts from cannot go in between
                job = Job(
                    folder=new_folder(self._folder),
                    model=self.choose_model(
                        request, model, prompt=prompt, pictures=len(pictures), source=source, mesh=mesh is not None
                    ),
                    pictures=tuple(pictures),
                    prompt=prompt,
                    name=name,
                    owner=owner,
                    request=request,
                    source=source,
                    mesh=mesh,
                )
                return self._queue(job if source is None else from_source(job, self._source(source)))

    def choose_model(
        self,
        request: JobRequest,
        model: str | None,
        *,
        prompt: str | None,
        pictures: int,
        source: str | None = None,
        mesh: bool = False,
    ) -> str:
        """The model of such a job; raises InvalidInputError for what `submit` refuses."""
        check_start(request, source=source is not None, mesh=mesh)
        usual = None if source is None else self._source(source).model
        return self.models.choose(model, prompt=prompt, pictures=pictures, request=request, usual=usual)

    def _source(self, job_id: str) -> Job:
        try:
            return self._find(job_id).job
        except UnknownJobError as error:
            raise InvalidInputError(f"source: {error}", field="source") from error

    def extract(self, job_id: str, values: Mapping[str, Any], *, owner: str | None = None) -> str:
        """Queue a job for other files of a finished job's asset, without sampling it again, and return its id.

        `values` are options of the files; what they leave out is at its default. owner: that of the job if None. Raises
        UnknownJobError, InvalidInputError for a bad option or an asset that is not kept any more, QueueFullError,
        StorageError.
        """
        with self._submitting:
            self._check_room()
            with self._lock:  # the asset cannot go in between
                source = self._find(job_id).job
                request = source.asset_request.with_files(values)
                if not source.has_asset:
                    raise InvalidInputError("The asset of this job is not kept any more: generate it again.")
                job = self._copied(source, source=source.id, asset=None, mesh=None, request=request)
                if owner is not None:
                    job = job.changed(owner=owner)
                return self._queue(job, kept=source.kept_file)

    def repeat(self, job_id: str) -> str:
        """Queue the same job once more and return its id; what an ended job has of its asset is not sampled again.

        Raises UnknownJobError, QueueFullError, StorageError, InvalidInputError where what it started from is gone.
        """
        with self._submitting:
            self._check_room()
            with self._lock:
                before = self._find(job_id).job
                job = self._copied(before)
                if not before.has_asset and before.request.operation in STARTS and not (before.asset or before.mesh):
                    raise InvalidInputError("The asset of this job is not kept any more: repeat the job it came from.")
                if before.asset is not None and not before.asset.is_file():
                    job = job.changed(asset=None)
                    if before.source in self._entries or not (before.mesh and before.mesh.is_file()):
                        job = from_source(job, self._source(before.source or ""))
                return self._queue(job, kept=before.kept_file if before.has_asset else None)

    def _copied(self, job: Job, **values: Any) -> Job:
        """A new job that asks for the same, but for these values."""
        same = {name: getattr(job, name) for name in ASKED - {"created"}}
        return Job(folder=new_folder(self._folder), **same | values)

    def _queue(self, job: Job, *, kept: Path | None = None) -> str:
        # Later than every job: clocks are coarse, and are set back now and then.
        self._latest = max(time.time(), math.nextafter(self._latest, math.inf))
        entry = _Entry(job.changed(created=self._latest).established(kept))
        with self._lock:
            self._entries[job.id] = entry
        self._hand_in(entry)
        return job.id

    def _hand_in(self, entry: _Entry, *, first: bool = False) -> None:
        entry.task = partial(self._run, entry)
        self.executor.submit(entry.task, partial(self._settle, entry), first=first)

    def view(self, job_id: str) -> Job:
        """The job at this moment; raises UnknownJobError."""
        with self._lock:
            entry = self._find(job_id)
            waiting = entry.job.state is JobState.QUEUED
            return entry.job.changed(ahead=self._unfinished().index(entry)) if waiting else entry.job

    def views(self) -> list[Job]:
        """All jobs at this moment, the oldest first."""
        with self._lock:
            return [self.view(job_id) for job_id, entry in self._entries.items() if not entry.hidden]

    def history(self, owner: str) -> list[Job]:
        """The jobs of an owner in every state, the newest first."""
        with self._lock:
            entries = reversed(self._entries.values())
            return [entry.job for entry in entries if entry.job.owner == owner and not entry.hidden]

    def rename(self, job_id: str, name: str) -> None:
        """Call a job otherwise; raises UnknownJobError, InvalidInputError for no name, StorageError."""
        name = " ".join(name.split())[:LONGEST_NAME]
        if not name.isprintable() or not name:
            raise InvalidInputError("Give the model a name of letters, digits or signs.", field="name")
        with self._lock:
            entry = self._find(job_id)
            job = entry.job.changed(name=name)
            with storing(job.folder):
                job.record()
            entry.job = job

    @property
    def busy(self) -> bool:
        """A job is waiting or running; takes no lock, so that it answers at once whatever else happens."""
        return bool(self._unfinished())

    def remove(self, job_id: str) -> None:
        """Forget a job and delete its folder, now or, when it has not ended yet, as soon as its cancel took effect."""
        with self._lock:
            entry = self._find(job_id)
            self._stop(entry)
            entry.removed = True
            if entry.job.state.final:
                self._delete(entry)

    def discard(self, job_id: str) -> None:
        """Hide a job, after its cancel; its folder goes after UNDO_SECONDS or with the next start of the program."""
        with self._lock:
            entry = self._find(job_id)
            self._stop(entry)
            entry.job.mark_discarded(True)
            entry.discarded = threading.Timer(UNDO_SECONDS, self._delete_discarded, [entry])
            entry.discarded.daemon = True
            entry.discarded.start()

    def bring_back(self, job_id: str) -> None:
        """Undo `discard`; raises UnknownJobError for a job whose time is up."""
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is not None and entry.discarded is not None:
                entry.discarded.cancel()
                entry.discarded = None
                entry.job.mark_discarded(False)
            self._find(job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once while it waits, at its next step while it runs; a finished job stays as it is."""
        with self._lock:
            self._stop(self._find(job_id))
            self._forget_surplus()

    def close(self) -> None:
        """Stop what runs, and wait for its end. Whoever waits for a job is told that the program ended before it.

        What waits has a record that says so: it goes on with the next start.
        """
        with self._submitting, self._lock:
            self._closed = True
            for entry in self._entries.values():
                if entry.discarded is not None:
                    entry.discarded.cancel()  # the next start deletes it
            for entry in self._unfinished():
                if entry.job.state is JobState.QUEUED or (self.executor.repeats and not entry.cancel.cancelled):
                    entry.job = entry.job.changed(state=JobState.FAILED, message=GOES_ON)  # and not recorded
                entry.cut_off = entry.cut_off or not entry.cancel.cancelled
                entry.cancel.cancel()
        self.pictures.close()
        self.meshes.close()
        self.executor.close()
        self.writers.close()
        with self._lock:
            for entry in self._unfinished():  # whose files were still to be written
                self._end_early(entry)

    def _find(self, job_id: str) -> _Entry:
        entry = self._entries.get(job_id)
        if entry is None or entry.hidden:
            raise UnknownJobError("This job is not known; it may have been deleted.")
        return entry

    def _unfinished(self) -> list[_Entry]:
        return [entry for entry in list(self._entries.values()) if entry.unfinished]

    def _stop(self, entry: _Entry) -> None:
        entry.cancel.cancel()
        waits = any(executor.withdraw(entry.task) for executor in (self.executor, self.writers))
        if waits or entry.job.state is JobState.QUEUED:
            self._end_early(entry)

    def _end_early(self, entry: _Entry) -> None:
        """End a job as what stopped it: somebody's wish, or the end of the program."""
        if entry.cut_off:
            entry.job = entry.job.ended(JobState.FAILED, message=CUT_OFF)
        else:
            entry.job = entry.job.ended(JobState.CANCELLED, message="Cancelled.")

    def _delete_discarded(self, entry: _Entry) -> None:
        with self._lock:
            if entry.discarded is None:
                return
            entry.removed = True
            if entry.job.state.final:
                self._delete(entry)

    def _delete(self, entry: _Entry) -> None:
        shutil.rmtree(entry.job.folder, ignore_errors=True)
        self._entries.pop(entry.job.id, None)

    def _give_up_assets(self, count: int) -> None:
        """Delete the kept assets of all ended jobs but the last `count` that have one."""
        with self._lock:
            jobs = [entry.job for entry in self._entries.values()]
            ended = [job for job in jobs if job.state.final and job.holds_assets]
            for job in sorted(ended, key=lambda job: job.created, reverse=True)[count:]:
                job.give_up_asset()

    def _forget_surplus(self, *, but: str = "") -> None:
        """Delete what is beyond the limits of the history; but: the id of a job that stays, as it has just ended."""
        with self._lock:
            jobs = [entry.job for entry in self._entries.values()]
            surplus = [job for job in surplus_jobs(jobs, self._history) if job.id != but]
            for job in surplus:
                self._delete(self._entries[job.id])
        if surplus:
            _log.info("Old results deleted: %d (--keep-days, --keep-jobs and --keep-gb say what stays)", len(surplus))

    def _check_room(self) -> None:
        with self._lock:
            if self._closed:
                raise QueueFullError("The program is shutting down.")
            limit = self._queue_limit + max(0, self.executor.room - 1)  # and one for each that can run beside the first
            if len(self._unfinished()) >= limit:
                raise QueueFullError(f"{limit} jobs are waiting already; try again in a moment.")

    def _run(self, entry: _Entry, tool: Tool) -> JobOutcome:
        with self._lock:
            if entry.job.state.final:
                raise Cancelled("Cancelled.")
            job = entry.job = entry.job.begun()
        apart = bool(self.writers.tools) and isinstance(job.request, AssetRequest) and not job.has_asset
        outcome = tool.run(job, on_step=partial(self._record_step, entry), cancel=entry.cancel, write=not apart)
        self.executor.learn(outcome.plan)
        return outcome

    def _write(self, entry: _Entry, plan: Mapping[str, Any], tool: Tool) -> JobOutcome:
        """Write the files of an asset that is made; plan: how the model was opened for it."""
        if entry.cancel.cancelled:
            raise Cancelled("Cancelled.")
        outcome = tool.run(entry.job, on_step=partial(self._record_step, entry), cancel=entry.cancel)
        return replace(outcome, plan=dict(plan))

    def _record_step(self, entry: _Entry, info: StepInfo) -> None:
        with self._lock:
            entry.job = entry.job.stepped(info)

    def _settle(self, entry: _Entry, future: "Future[JobOutcome]") -> None:
        error = future.exception()
        with self._lock:
            if entry.job.state.final:
                return
            outcome = JobOutcome({}) if error is not None else future.result()
            if outcome.files:
                outcome = replace(outcome, notes=(*source_notes(entry.job), *outcome.notes))
                entry.job = entry.job.ended(JobState.DONE, outcome=outcome)
            elif error is None and not entry.cancel.cancelled:
                entry.task = partial(self._write, entry, outcome.plan)
                self.writers.submit(entry.task, partial(self._settle, entry))
                return
            elif error is None or isinstance(error, Cancelled):
                self._end_early(entry)
            elif isinstance(error, WorkerDiedError) and entry.job.repeated + error.begun <= self.executor.repeats:
                _log.warning("Job %s is carried out again: %s", entry.job.id, error)
                entry.job = entry.job.again(begun=error.begun)
                self._hand_in(entry, first=True)
                return
            else:
                entry.job = entry.job.ended(JobState.FAILED, message=explain(error))
            for stage, seconds in entry.job.spent.items():
                self.spent[stage] = self.spent.get(stage, 0.0) + seconds
            if entry.removed:
                self._delete(entry)
            self._give_up_assets(KEPT_ASSETS)
            self._forget_surplus(but=entry.job.id)
        if error is not None and not isinstance(error, TrellisError):
            _log.error("Job %s failed", entry.job.id, exc_info=error)
