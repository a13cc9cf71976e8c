"""The folder of the results at a server's start: it can be written, nobody else uses it, and is rid of leftovers."""

import errno
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from trellis.app.history import JOB_FOLDER
from trellis.app.jobs import REQUEST_FILE
from trellis.app.storage import StorageError, storage_error
from trellis.errors import InvalidInputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE = ".lock"
PROBE_BYTES = 1 << 20  # with less room than this no job can end well
UNFINISHED_FILE = re.compile(r"\..+-[a-z0-9_]{8}(\.\w+)?")  # what `written_aside` and the writers of assets make
UNFINISHED_JOB = re.compile(UNFINISHED_FILE.pattern + r"|picture_\d+\.png|kept\.safetensors|source\.\w+")
WORK_FOLDER = re.compile(r"trellis-(\d+)-.+")  # of `run_native`, with the number of its process

_log = logging.getLogger(__name__)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep the folder of the results, which is made if need be, to this process until the body ends or it dies.

    What killed processes left there is removed. Raises InvalidInputError for a folder that cannot be written or that
    another server uses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("ab")
    except OSError as error:
        raise _unusable(folder, error) from error
    with lock:
        _take(lock, folder)
        remove_leftovers(folder)
        check_writable(folder)
        yield


def check_writable(folder: Path) -> None:
    """Raise InvalidInputError if nothing can be written to the folder of the results, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        raise _unusable(folder, error) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left: unfinished files of jobs, jobs that never began, work of native code."""
    for path in folder.iterdir():
        if _never_began(path):
            _remove(path)
    for path in folder.glob("*/.*"):
        if JOB_FOLDER.fullmatch(path.parent.name) and UNFINISHED_FILE.fullmatch(path.name):
            _remove(path)
    remove_abandoned_work()


def remove_abandoned_work() -> None:
    """Remove temporary folders of killed processes."""
    for path in Path(tempfile.gettempdir()).glob("trellis-*"):
        work = WORK_FOLDER.fullmatch(path.name)
        if work is not None and not psutil.pid_exists(int(work[1])):
            _remove(path)


def _never_began(folder: Path) -> bool:
    """Whether a job's folder holds only what is written before its request."""
    if not JOB_FOLDER.fullmatch(folder.name) or not folder.is_dir() or (folder / REQUEST_FILE).exists():
        return False
    return all(UNFINISHED_JOB.fullmatch(path.name) for path in folder.iterdir())


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:  # somebody else's, or gone
        _log.debug("%s is left: %s", path, error)
    else:
        _log.info("Removed what a killed process left: %s", path)


def _take(lock: IO[bytes], folder: Path) -> None:
    """Lock the file; the system lets go of it when this process ends, however it ends."""
    try:
        if sys.platform == "win32":
            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            _log.warning("The folder of the results cannot be locked (%s): use it from one server only", error)
            return
        raise InvalidInputError(
            f"Another server uses the folder of the results already ({folder}): end that one, or choose another "
            "folder with --output."
        ) from error


def _unusable(folder: Path, error: OSError) -> InvalidInputError:
    found = storage_error(error, folder) or StorageError(full=False, reason=error.strerror or str(error))
    advice = "Make room there" if found.full else "See to that"
    named = "a file has that name" if isinstance(error, FileExistsError) else error.strerror or str(error)
    reason = "its disk is full" if found.full else named
    return InvalidInputError(
        f"Results cannot be written to {folder}: {reason}. {advice}, or choose another folder with --output."
    )
