"""`run.sh test`: what the tests need (online, once), then lint, types and tests without the network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from installer.environment import Uv
from installer.errors import InstallError
from installer.plan import PYTHONS
from installer.requirements import files_hash
from installer.state import GROUPS

GLTF_VALIDATOR = "gltf-validator@2.0.0-dev.3.10"  # the Khronos group's own, from npm
AXE = "axe-core@4.14.1"  # finds barriers on the page, from npm
UV_VERSION = "0.13.9"  # as run.bat and run.sh fetch it
ALONE = "tests/alone"  # what measures time: no other test runs beside it
# All others: three processes, for those of the browser mostly wait; tests/conftest.py says what stays together.
TOGETHER = ("-n", "3", f"--ignore={ALONE}", "--durations=40", "--durations-min=4")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "PIP_NO_INDEX": "1",
    "WANDB_MODE": "offline",
}


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def provide_tools(uv: Uv, root: Path, *, required: bool) -> None:
    """Bring what the tests need beside Python packages; what cannot be had is said, and its tests are skipped.

    Raises InstallError where `required` (continuous integration): no test must be skipped there.
    """
    missing = [sentence for sentence in (_chromium(), *_node_packages(root), _windows(uv, root)) if sentence]
    if missing and required:
        raise InstallError(" ".join(missing))
    for sentence in missing:
        print(f"{sentence} Its tests will be skipped (they are required where CI=true).", flush=True)


def _chromium() -> str | None:
    """Install Debian's Chromium where there is none and this user may; returns what is missing."""
    if find_chromium() is None and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("Installing Chromium for the browser tests ...", flush=True)
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for action in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *action], env=env, stdout=subprocess.DEVNULL, check=False)
    return None if find_chromium() else "Chromium is not here, and could not be installed."


def find_gltf_validator(root: Path) -> str | None:
    """Return the folder of the installed glTF validator of the pinned version, or None without it or Node.js."""
    return _node_package(root, GLTF_VALIDATOR) if shutil.which("node") else None


def find_axe(root: Path) -> str | None:
    """Return the script of the installed axe-core of the pinned version, or None without it; a browser runs it."""
    folder = _node_package(root, AXE)
    return None if folder is None else str(Path(folder) / "axe.min.js")


def _node_package(root: Path, pinned: str) -> str | None:
    """The folder of a package from npm, if this very version is installed."""
    name, _, version = pinned.rpartition("@")
    folder = root / ".state" / "node" / "node_modules" / name
    try:
        installed = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return None
    return str(folder) if installed == version else None


def _node_packages(root: Path) -> list[str]:
    """Install with npm, where that is here, what is not there yet; returns what is missing."""

    def missing() -> list[str]:
        validator = "" if find_gltf_validator(root) else "The glTF validator is not here: it needs Node.js with npm."
        axe = "" if find_axe(root) else "axe-core is not here: it needs npm."
        return [sentence for sentence in (validator, axe) if sentence]

    npm = shutil.which("npm")
    if missing() and npm and shutil.which("node"):
        print("Installing the glTF validator and axe-core for the tests ...", flush=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        # Both at once: npm takes out what was installed without being asked for again.
        command = [npm, "install", "--prefix", str(root / ".state" / "node"), *options, GLTF_VALIDATOR, AXE]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return missing()


def _windows(uv: Uv, root: Path) -> str | None:
    """Find every package for Windows, as wheels alone, for each supported Python, and fetch uv for Windows.

    The tests read the lists (.state/windows-3.11.txt ...). Returns what is missing.
    """
    tools = root / ".state" / "tools"
    pinned = f"uv=={UV_VERSION}"
    if not list(tools.glob(f"uv-{UV_VERSION}-*-win_amd64.whl")):
        wheel = ["--platform", "win_amd64", "--only-binary", ":all:", "--no-deps", "--dest", str(tools), pinned]
        if uv.ask(*uv.PIP, "download", *wheel).returncode != 0:
            return "uv for Windows could not be fetched."
    files = [root / name for name in GROUPS["main"]]
    header = f"# {files_hash(*files)}\n"
    for major, minor in PYTHONS:
        version = f"{major}.{minor}"
        listing = root / ".state" / f"windows-{version}.txt"
        if listing.exists() and listing.read_text(encoding="utf-8").startswith(header):
            continue
        print(f"Looking for the Windows packages of Python {version} ...", flush=True)
        options = ["--python-platform", "windows", "--only-binary", ":all:", "--python-version", version]
        found = uv.ask("pip", "compile", "--quiet", "--no-header", "--no-annotate", *options, *map(str, files))
        if found.returncode != 0:
            return f"The requirements could not be resolved for Windows with Python {version}: {found.stderr}"
        listing.write_text(header + found.stdout, encoding="utf-8")
    return None


def offline_environment(root: Path) -> dict[str, str]:
    """Return the environment of the offline step: no hub, no telemetry, no package index."""
    tools = {
        "TRELLIS_TEST_CHROMIUM": find_chromium(),
        "TRELLIS_TEST_GLTF_VALIDATOR": find_gltf_validator(root),
        "TRELLIS_TEST_AXE": find_axe(root),
    }
    found = {name: path for name, path in tools.items() if path}
    return {**os.environ, **OFFLINE, **found, "PYTHONPATH": str(root)}


def commands(arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the checks in order; pytest is last, so that its summary is the last line.

    With `arguments` (paths, `-k` ...) only pytest is run, with them, in one process.
    """
    python = [sys.executable, "-m"]
    pytest = [*python, "pytest"]
    if arguments:
        return [("pytest", [*pytest, *arguments])]
    return [
        ("ruff check", [*python, "ruff", "check", "."]),
        ("ruff format", [*python, "ruff", "format", "--check", "."]),
        ("mypy", [*python, "mypy"]),
        ("pytest, alone", [*pytest, ALONE]),
        ("pytest", [*pytest, *TOGETHER]),
    ]


def _compile_ahead(root: Path, env: dict[str, str]) -> subprocess.Popen[bytes] | None:
    """In a fresh clone, start to import all tests: Python compiles them, and the packages, once for all processes."""
    if not (root / "tests").is_dir() or (root / "tests" / "__pycache__").is_dir():
        return None
    null = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "--collect-only"], cwd=root, env=env, stdout=null, stderr=null
    )


def run_all(root: Path, arguments: Sequence[str]) -> int:
    """Run every check of `commands`, also after one has failed; returns 0 only if all passed."""
    env = offline_environment(root)
    statuses: dict[str, int] = {}
    compiling = None if arguments else _compile_ahead(root, env)  # beside mypy, which takes one core
    for name, command in commands(arguments):
        if compiling is not None and name.startswith("pytest"):
            compiling.wait()
        if name == "pytest" and statuses:
            passed = ", ".join(f"{check} {'FAILED' if status else 'passed'}" for check, status in statuses.items())
            print(f"== before the tests: {passed}", flush=True)
        print(f"== {name}", flush=True)
        started = time.monotonic()
        statuses[name] = subprocess.run(command, cwd=root, env=env, check=False).returncode
        if name != "pytest":
            print(f"   {time.monotonic() - started:.1f} s", flush=True)
    return next((status for status in reversed(statuses.values()) if status), 0)
