"""`update`: the program's newest version, where git fetched it, and its packages; back to the old one if they fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from installer.errors import InstallError


def install_packages() -> int:
    """Install with the installer of the version that is there now; returns its exit status."""
    return subprocess.run([sys.executable, "-P", "-m", "installer", "setup", "--yes"], check=False).returncode


def update(root: Path, *, install: Callable[[], int] = install_packages) -> int:
    """Fetch the newest version and `install` its packages; returns 0. Else InstallError, and the old version is back.

    Only moves forward along the branch that is checked out, and never over changed files.
    """
    before = _commit(root)
    if before is None:
        print("This folder was not fetched with git: unpack a newer version over it to update the program.", flush=True)
    elif _git(root, "pull", "--ff-only", "--quiet").returncode != 0:
        raise InstallError(
            "The new version could not be fetched. Check the network, and `git status` for files changed here."
        )
    else:
        after = _commit(root)
        same = after == before
        print("This is the newest version already." if same else f"Updated from {before} to {after}.", flush=True)
    if install() == 0:
        return 0
    if before is not None and _commit(root) != before:
        print(f"Going back to {before} ...", flush=True)
        _git(root, "reset", "--keep", "--quiet", before)
    raise InstallError("The packages could not be installed; everything is as it was.")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], stdout=subprocess.PIPE, text=True, check=False)


def _commit(root: Path) -> str | None:
    """Return the short name of the commit that is checked out, None where the folder itself is no repository."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    return _git(root, "rev-parse", "--short=12", "HEAD").stdout.strip() or None
