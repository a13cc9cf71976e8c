"""What runs on the nodes of a cluster: the worker of one accelerator, as Ray's actor."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import trellis
from trellis.app.executor import MOST_AT_ONCE, Executor, Tool
from trellis.app.failures import describe
from trellis.app.jobs import DRAFT_FILE, FRAMED_FILE, KEPT_FILE, Job, JobOutcome
from trellis.app.output_folder import remove_abandoned_work
from trellis.app.worker_process import PipelineSource, WorkerProcess
from trellis.app.writers import carry_out_apart, writing_processes
from trellis.errors import TrellisError
from trellis.progress import CancelToken, StepInfo

Files = dict[str, NDArray[np.uint8]]  # contents by name; Ray hands arrays on without copying them
REPORT_SECONDS = 0.1  # steps in between are passed over

_log = logging.getLogger(__name__)


def program_version() -> str:
    """The version of the program, with a digest of its sources: where this is the same, so are results."""
    root = Path(trellis.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return f"{trellis.__version__}-{digest.hexdigest()[:12]}"


def inputs_of(job: Job) -> Files:
    """The files that a job starts from, as `moved` names them."""
    there = moved(job, Path())
    names = (*there.pictures, there.asset, there.mesh, there.kept_file)
    paths = (*job.pictures, job.asset, job.mesh, job.kept_file if job.has_asset else None)
    return {str(name): np.fromfile(path, dtype=np.uint8) for name, path in zip(names, paths) if path is not None}


def moved(job: Job, folder: Path) -> Job:
    """The job with all its files in another folder."""
    pictures = tuple(folder / f"picture_{index}{path.suffix}" for index, path in enumerate(job.pictures))
    asset, mesh = (path and folder / path.name for path in (job.asset, job.mesh))
    return job.changed(folder=folder, pictures=pictures, asset=asset, mesh=mesh)


class NodeWorker:
    """Carries jobs out on one accelerator, by the processes that a machine has for it.

    The next asset is made while files of others are written, as far as `cores` suffice (`writing_processes`). Methods
    are called from several threads at once.
    """

    def __init__(self, source: PipelineSource, cores: int) -> None:
        remove_abandoned_work()
        self._makers = Executor([WorkerProcess(source)])
        self._writers = Executor([], further_tools=partial(writing_processes, source, cores=cores))
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE)
        self._calls: dict[str, CancelToken] = {}

    def cancel(self, call: str) -> None:
        """Stop what a call is about at its next step, also one that has not arrived yet."""
        self._calls.setdefault(call, CancelToken()).cancel()

    def open(self, call: str) -> Iterator[Any]:
        """Open the model ahead; yields what `run` does."""
        with TemporaryDirectory(prefix=f"trellis-{os.getpid()}-") as folder:
            yield from self._watched(call, Path(folder), self._open, keep=False)

    def run(self, call: str, job: Job, files: Files, name: str, keep: bool) -> Iterator[Any]:
        """Carry out a job that starts from `files` and writes files `name.*`.

        Yields at its begin None, then now and then a list of the last StepInfo of each stage, first looks at the asset
        as Files, and at last either a report of `describe` or (outcome, its files, how many jobs may be here at once).
        keep: they include the asset itself.
        """
        with TemporaryDirectory(prefix=f"trellis-{os.getpid()}-") as place:
            folder = Path(place)
            for file, content in files.items():
                content.tofile(folder / file)
            work = partial(self._make, moved(job, folder), name)
            yield from self._watched(call, folder, work, keep=keep)

    def _watched(
        self, call: str, folder: Path, work: Callable[[CancelToken, Any], JobOutcome], *, keep: bool
    ) -> Iterator[Any]:
        reports: SimpleQueue[StepInfo] = SimpleQueue()
        cancel = self._calls.setdefault(call, CancelToken())
        looks = [FRAMED_FILE, DRAFT_FILE]
        try:
            yield None
            made = self._threads.submit(work, cancel, reports.put)
            ended = False
            while not ended:
                ended = bool(wait([made], timeout=REPORT_SECONDS).done)  # before the last reports are read
                latest = {}
                while not reports.empty():
                    info = reports.get()
                    latest[info.label] = info
                if latest:
                    yield list(latest.values())
                if seen := _read(folder, looks):
                    yield seen
                    looks = [look for look in looks if look not in seen]
            yield self._ended(made, folder, [*looks, KEPT_FILE] if keep else looks)
        finally:
            del self._calls[call]

    def _open(self, cancel: CancelToken, on_step: Any) -> JobOutcome:
        plan = self._makers.carry_out(lambda tool: tool.open(cancel))
        self._writers.learn(plan)
        return JobOutcome({}, plan=plan)

    def _make(self, job: Job, name: str, cancel: CancelToken, on_step: Callable[[StepInfo], None]) -> JobOutcome:
        def work(tool: Tool, *, write: bool) -> JobOutcome:
            return tool.run(job, on_step=on_step, cancel=cancel, name=name, write=write)

        return carry_out_apart(self._makers, self._writers, work)

    def _ended(self, made: "Future[JobOutcome]", folder: Path, others: list[str]) -> Any:
        error = made.exception()
        if error is None:
            outcome = made.result()
            names = [*others, *(path.name for path in outcome.files.values())]
            return outcome, _read(folder, names), 1 + 2 * len(self._writers.tools)
        if not isinstance(error, TrellisError):
            _log.error("A job failed", exc_info=error)
        return describe(error)


def _read(folder: Path, names: Iterable[str]) -> Files:
    """The contents of those files that are there."""
    return {name: np.fromfile(folder / name, dtype=np.uint8) for name in names if (folder / name).is_file()}
