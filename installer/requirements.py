"""Read the requirement files, which stay the human-readable truth about versions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from installer.errors import InstallError

TORCH_FILE = "requirements_1.txt"
MAIN_FILE = "requirements_2.txt"
DEV_FILE = "requirements_dev.txt"

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+]+)\s*(?:#.*)?$")


def normalised(name: str) -> str:
    """Return a distribution name in the canonical spelling (lower case, dashes)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Return {canonical name: version} of a requirement file in which every line is `name==version`."""
    pins: dict[str, str] = {}
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _PIN.match(line)
        if match is None:
            raise InstallError(f"{path.name}, line {number}: expected name==version, found {line!r}")
        pins[normalised(match["name"])] = match["version"]
    return pins


def torch_version(root: Path) -> str:
    """Return the one torch version, as requirements_1.txt states it."""
    pins = read_pins(root / TORCH_FILE)
    if "torch" not in pins:
        raise InstallError(f"{TORCH_FILE} does not pin torch")
    return pins["torch"]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a text file, independent of its line endings."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def resolved_text(path: Path, replacements: Mapping[str, str]) -> str:
    """Return the pins of a requirement file with some versions replaced, one `name==version` a line."""
    pins = read_pins(path)
    unknown = sorted(set(replacements) - set(pins))
    if unknown:
        raise InstallError(f"{path.name} does not name {', '.join(unknown)}")
    return "".join(f"{name}=={replacements.get(name, version)}\n" for name, version in pins.items())


def wheel_version(file_name: str) -> str:
    """Return the version, local tag included, in a wheel's file name."""
    return file_name.split("-")[1].replace("%2B", "+")
