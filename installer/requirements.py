"""Read the requirement files, which stay the human-readable truth about versions."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from installer.errors import InstallError

TORCH_FILE = "requirements_1.txt"
MAIN_FILE = "requirements_2.txt"
DEV_FILE = "requirements_dev.txt"
CLUSTER_FILE = "requirements_cluster.txt"

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+]+)\s*(?:;[^#]*)?(?:#.*)?")


def normalised(name: str) -> str:
    """Return a distribution name in the canonical spelling (lower case, dashes)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Return {canonical name: version} of a file whose lines are `name==version`, some with a marker of a system."""
    pins: dict[str, str] = {}
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line)
        if match is None:
            raise InstallError(f"{path.name}, line {number}: expected name==version, found {line!r}")
        pins[normalised(match["name"])] = match["version"]
    return pins


def files_hash(*paths: Path) -> str:
    """Return the SHA-256 of text files, independent of their line endings."""
    texts = [path.read_bytes().replace(b"\r\n", b"\n") for path in paths]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
