"""The installer's exceptions: each message is a sentence for the person in front of the machine."""

from __future__ import annotations


class InstallError(Exception):
    """Installation cannot go on; the message says why and what to do."""


class CommandError(InstallError):
    """A command of a step failed; `.detail` holds its last lines."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
