"""The installer's exception: its message is a sentence for the person in front of the machine."""

from __future__ import annotations


class InstallError(Exception):
    """Installation cannot go on; the message says why and what to do."""
