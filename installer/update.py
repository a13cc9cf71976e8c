"""`update`: the program's newest version, where git fetched it, and its packages; back to the old one if they fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from installer.errors import CommandError, InstallError
from installer.shell import Shell

GIT_TIMEOUT = 60.0


def update(shell: Shell, root: Path, *, install: Callable[[], None]) -> None:
    """Fetch the newest version and `install` its packages; raises InstallError with the old version in place again.

    Only moves forward along the branch that is checked out, and never over changed files.
    """
    before = _commit(shell, root)
    if before is None:
        shell.say("This folder was not fetched with git: unpack a newer version over it to update the program.")
        install()
        return
    git = ["git", "-C", str(root)]
    try:
        shell.run([*git, "pull", "--ff-only", "--quiet"])
    except CommandError as error:
        hint = "Check the network, and `git status` for files that were changed here."
        raise CommandError(f"The new version could not be fetched: {error}. {hint}", detail=error.detail) from error
    after = _commit(shell, root)
    shell.say("This is the newest version already." if after == before else f"Updated from {before} to {after}.")
    try:
        install()
    except InstallError:
        if after != before:
            shell.say(f"Going back to {before} ...")
            shell.run([*git, "reset", "--keep", "--quiet", before])
        raise


def _commit(shell: Shell, root: Path) -> str | None:
    """Return the short name of the commit that is checked out, None where the folder itself is no repository."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    text = shell.read(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], timeout=GIT_TIMEOUT)
    return text.strip() if text else None
