"""What cannot be written, in a sentence: a full disk, a folder that is read-only, gone or no folder at all."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trellis.errors import Cancelled, TrellisError

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Libraries that write by themselves say it in words: the system's, on Linux, macOS and Windows.
FULL_WORDS = ("no space left on device", "disk quota exceeded", "disc quota exceeded", "not enough space on the disk")
READ_ONLY_WORDS = "read-only file system"


class StorageError(TrellisError):
    """The results cannot be written; `full` says that there is no room."""

    def __init__(self, *, full: bool, reason: str = "") -> None:
        if full:
            message = "The disk of the results is full: delete old results or other files there, then try again."
        else:
            message = f"The folder of the results cannot be used ({reason}): see to that, then try again."
        super().__init__(message)
        self.full = full

    @property
    def status(self) -> int:
        """The HTTP status that says it."""
        return 507 if self.full else 503


def storage_error(error: BaseException, folder: Path) -> StorageError | None:
    """The StorageError that an error, or what it came from, is about; None where it is about something else."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (Cancelled, StorageError)):
        words = "" if isinstance(cause, TrellisError) else str(cause).lower()  # ours may hold what a client said
        number = cause.errno if isinstance(cause, OSError) else None
        if number in FULL or any(part in words for part in FULL_WORDS):
            return StorageError(full=True)
        if number == errno.EROFS or READ_ONLY_WORDS in words or _is_inside(cause, folder):
            return StorageError(full=False, reason=getattr(cause, "strerror", None) or "it is read-only")
        cause = cause.__cause__ or cause.__context__
    return cause if isinstance(cause, StorageError) else None


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Raises StorageError for whatever goes wrong in the body because `folder` cannot be written."""
    try:
        yield
    except Exception as error:
        found = storage_error(error, folder)
        if found is None or found is error:
            raise
        raise found from error


def _is_inside(error: BaseException, folder: Path) -> bool:
    """Whether the system refused a file in the folder, or the folder."""
    name = getattr(error, "filename", None)
    if not isinstance(error, OSError) or not isinstance(name, (str, Path)):
        return False
    place, folder = Path(name).absolute(), folder.absolute()
    return place.is_relative_to(folder) or folder.is_relative_to(place)
