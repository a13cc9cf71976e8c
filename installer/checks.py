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

from installer import requirements
from installer.errors import CommandError, InstallError
from installer.plan import PYTHONS
from installer.shell import Shell

GLTF_VALIDATOR = "gltf-validator@2.0.0-dev.3.10"  # the Khronos group's own, from npm
UV = "uv==0.13.9"  # as run.bat and run.sh fetch it
UV_TIMEOUT = 300.0
ALONE = "tests/alone"  # what measures time: no other test runs beside it
TOGETHER = ("-n", "2", f"--ignore={ALONE}")  # all others: two processes, as tests/conftest.py says
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


def provide_chromium(shell: Shell, *, required: bool) -> str | None:
    """Return Chromium's path, installing Debian's package where it is missing and this user may.

    Raises InstallError where `required` (continuous integration): the browser tests must not be skipped there.
    """
    found = find_chromium()
    if found is not None:
        return found
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        shell.say("Installing Chromium for the browser tests ...")
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        try:
            shell.run(["apt-get", "update", "-q"], env=env)
            shell.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"], env=env)
        except CommandError as error:
            shell.say(f"Chromium could not be installed: {error}")
        found = find_chromium()
    if found is None and required:
        raise InstallError("The browser tests need Chromium, which is not here and could not be installed.")
    if found is None:
        shell.say("Chromium is not here: the browser tests will be skipped (they are required where CI=true).")
    return found


def find_gltf_validator(root: Path) -> str | None:
    """Return the folder of the installed glTF validator of the pinned version, or None without it or Node.js."""
    folder = root / ".state" / "node" / "node_modules" / "gltf-validator"
    try:
        installed = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return None
    return str(folder) if shutil.which("node") and GLTF_VALIDATOR.endswith(f"@{installed}") else None


def provide_gltf_validator(shell: Shell, root: Path, *, required: bool) -> str | None:
    """Return the glTF validator's folder, installing it with npm where that is here.

    Raises InstallError where `required` (continuous integration): the tests of GLB files must not be skipped there.
    """
    found = find_gltf_validator(root)
    npm = shutil.which("npm")
    if found is None and npm and shutil.which("node"):
        shell.say("Installing the glTF validator for the tests of GLB files ...")
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        try:
            shell.run([npm, "install", "--prefix", str(root / ".state" / "node"), *options, GLTF_VALIDATOR])
        except CommandError as error:
            shell.say(f"The glTF validator could not be installed: {error}")
        found = find_gltf_validator(root)
    if found is None and required:
        raise InstallError("The tests of GLB files need the glTF validator: install Node.js with npm.")
    if found is None:
        shell.say("The glTF validator is not here (it needs Node.js and npm): its tests will be skipped.")
    return found


def provide_uv(shell: Shell, root: Path) -> Path | None:
    """Return the folder with the pinned uv of this system and the file of uv for Windows, fetching them with pip.

    Without a network it returns None after saying which checks are left out.
    """
    folder = root / ".state" / "tools"
    if (folder / "bin" / "uv").exists() and list(folder.glob("uv-*-win_amd64.whl")):
        return folder
    pip = [sys.executable, "-m", "pip"]
    windows = ["--no-deps", "--only-binary", ":all:", "--platform", "win_amd64", "--dest", str(folder)]
    try:
        shell.run([*pip, "install", "--upgrade", "--target", str(folder), UV])
        shell.run([*pip, "download", *windows, UV])
    except CommandError as error:
        shell.say(f"uv could not be fetched ({error}): the checks of the Windows packages will be left out.")
        return None
    return folder


def resolve_for_windows(shell: Shell, root: Path, *, required: bool) -> None:
    """Find every package for Windows, as wheels alone, for each Python that is supported, and keep the list.

    The tests read the lists (.state/windows-3.11.txt ...). Raises InstallError where `required` and one is missing.
    """
    folder = provide_uv(shell, root)
    files = [requirements.TORCH_FILE, requirements.MAIN_FILE]
    fingerprint = "".join(requirements.file_hash(root / name) for name in files)
    for major, minor in PYTHONS:
        version = f"{major}.{minor}"
        listing = root / ".state" / f"windows-{version}.txt"
        if listing.exists() and listing.read_text(encoding="utf-8").startswith(f"# {fingerprint}\n"):
            continue
        found = None
        if folder is not None:
            shell.say(f"Looking for the Windows packages of Python {version} ...")
            options = ["--python-platform", "windows", "--only-binary", ":all:", "--python-version", version]
            command = [
                str(folder / "bin" / "uv"),
                "pip",
                "compile",
                "--quiet",
                "--no-header",
                "--no-annotate",
                *options,
            ]
            found = shell.read([*command, *[str(root / name) for name in files]], timeout=UV_TIMEOUT)
        if found is not None:
            listing.write_text(f"# {fingerprint}\n{found}", encoding="utf-8")
        elif required:
            raise InstallError(f"The requirements could not be resolved for Windows with Python {version}.")


def offline_environment(root: Path) -> dict[str, str]:
    """Return the environment of the offline step: no hub, no telemetry, no package index."""
    tools = {"TRELLIS_TEST_CHROMIUM": find_chromium(), "TRELLIS_TEST_GLTF_VALIDATOR": find_gltf_validator(root)}
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


def run_all(root: Path, arguments: Sequence[str]) -> int:
    """Run every check of `commands`, also after one has failed; returns 0 only if all passed."""
    env = offline_environment(root)
    statuses: dict[str, int] = {}
    for name, command in commands(arguments):
        if name == "pytest" and statuses:
            passed = ", ".join(f"{check} {'FAILED' if status else 'passed'}" for check, status in statuses.items())
            print(f"== before the tests: {passed}", flush=True)
        print(f"== {name}", flush=True)
        started = time.monotonic()
        statuses[name] = subprocess.run(command, cwd=root, env=env, check=False).returncode
        if name != "pytest":
            print(f"   {time.monotonic() - started:.1f} s", flush=True)
    return next((status for status in reversed(statuses.values()) if status), 0)
