"""Jobs of earlier starts, read back from their folders; and how much of them stays on disk."""

import logging
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trellis.app.jobs import DISCARDED_FILE, REQUEST_FILE, Job
from trellis.errors import InvalidInputError

JOB_FOLDER = re.compile(r"[0-9a-f]{32}")
DAY = 86400.0
GB = 10**9

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistoryLimits:
    """What of ended jobs stays: the newest, up to an age, a number and a size on disk; 0 means without limit."""

    days: float = 0.0
    jobs: int = 1000
    gigabytes: float = 20.0

    def __post_init__(self) -> None:
        for name in ("days", "jobs", "gigabytes"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(f"The history's {name} must be at least 0, not {getattr(self, name)}.")


def restore_jobs(root: Path, repeats: int = 0) -> list[Job]:
    """The jobs whose folders are under `root`, the oldest first; what cannot be read is left alone and logged.

    Those that were discarded in an earlier start are deleted; `repeats`: see `Job.restore`.
    """
    if not root.is_dir():
        return []
    jobs = []
    for folder in root.iterdir():
        if not JOB_FOLDER.fullmatch(folder.name) or not (folder / REQUEST_FILE).is_file():
            continue
        if (folder / DISCARDED_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            jobs.append(Job.restore(folder, repeats))
        except InvalidInputError as error:
            _log.warning("A job of an earlier start is passed over: %s", error)
    return sorted(jobs, key=lambda job: job.created)


def surplus_jobs(jobs: Iterable[Job], limits: HistoryLimits) -> list[Job]:
    """The ended jobs that are beyond the limits: too old, too many, or too large together with all newer ones."""
    oldest = time.time() - limits.days * DAY if limits.days else 0.0
    surplus, size = [], 0
    ended = [job for job in jobs if job.state.final]
    for index, job in enumerate(sorted(ended, key=lambda job: job.created, reverse=True)):
        size += folder_bytes(job.folder)
        too_many = 0 < limits.jobs <= index
        if job.created < oldest or too_many or 0 < limits.gigabytes * GB < size:
            surplus.append(job)
    return surplus


def folder_bytes(folder: Path) -> int:
    """The size of the files in a folder; those that vanish meanwhile count nothing."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            _log.debug("%s has gone", path)
    return total
