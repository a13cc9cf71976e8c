"""Every error this library raises on purpose: its message says what happened and what to do."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches

# The program that people call, as messages name it; PowerShell starts none of the folder by its bare name.
STARTER = ".\\run.bat" if sys.platform == "win32" else "run.sh"


class TrellisError(Exception):
    """Base of all deliberate errors; the message is fit to show to a user."""


class InvalidInputError(TrellisError, ValueError):
    """A picture, file or option that cannot be used, named together with the values that can.

    `field` is the name of what is wrong where programs know it by one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class CheckpointError(TrellisError):
    """A model folder or weight file that is missing, damaged or of another shape."""


class FetchError(TrellisError):
    """A model that is not here and cannot be fetched: no network, no room, no such repository, or not allowed."""


class LicenceError(InvalidInputError):
    """A model whose licence must be accepted by a person first, or a file that it keeps from this use."""


class MissingDependencyError(TrellisError, ImportError):
    """An optional package that was asked for is not installed or not usable on this machine."""


class Cancelled(TrellisError):  # noqa: N818 - the user's wish, not a fault
    """The job was cancelled at a step boundary."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that nobody knows: the one of `known` that is like it, or nothing."""
    by_lower_case = {each.lower(): each for each in known}
    like = get_close_matches(name[:80].lower(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[like[0]]}?" if like else ""
