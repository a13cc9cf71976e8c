"""The program's Python environment, which uv fills from the requirement files.

uv fetches everything before it changes anything, keeps what has arrived, tries again by itself, and shows how far it
is: a failure leaves the environment as it was, and only an interruption can leave half of it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from installer.errors import InstallError
from installer.extras import uv_options
from installer.pip_settings import uv_environment
from installer.plan import Plan
from installer.state import GROUPS, State, fingerprint

# What is asked before a plan is made, once and shortly: a plan for a machine without a network must not take minutes.
QUICK = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
DAMAGED = "One of the folder's files is missing, damaged or for another machine: make it again with setup --download."
HINT = (
    "Check the network and start again: what has arrived is kept. Where a company's proxy or a virus scanner answers "
    "with a certificate of its own, set SSL_CERT_FILE to the file of that certificate."
)
# The environment's programs lie beside Microsoft's C++ runtime (msvc-runtime), which torch needs: every start of the
# environment's Python looks there, before the possibly older ones of the system.
RUNTIME_PATH_FILE = "trellis_runtime.pth"
RUNTIME_PATH = 'import os, sys; os.add_dll_directory(os.path.join(sys.prefix, "Scripts"))\n'


class Uv:
    """uv, told what this machine's pip is told; it works on the running Python's environment."""

    # uv cannot download wheels into a folder; pip, which uv brings for it, reads the machine's settings by itself.
    PIP = ("run", "--quiet", "--no-project", "--python", sys.executable, "--with", "pip", "--", "python", "-m", "pip")

    def __init__(self, program: str | None = None) -> None:
        found = program or os.environ.get("UV")
        if not found:
            raise InstallError("The installer is started by run.sh or run.bat, which bring uv.")
        self._program = found
        self.environment = uv_environment(os.environ)

    def command(self, *arguments: str) -> list[str]:
        """The command line for `uv ARGUMENTS`; pip's `no-index`, for which uv has no variable, is among them."""
        closed = self.environment.get("UV_NO_INDEX", "").lower() in ("1", "true", "yes", "on")
        return [self._program, *arguments, *(["--no-index"] if closed and arguments[0] == "pip" else [])]

    def run(self, *arguments: str, hint: str = HINT) -> None:
        """Run uv with its output on the terminal; it never outlives this process. Raises InstallError with `hint`."""
        process = subprocess.Popen(self.command(*arguments), env=self.environment)
        try:
            status = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if status != 0:
            raise InstallError(hint)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run uv once, without trying again; its output is in the answer."""
        environment = {**self.environment, **QUICK}
        return subprocess.run(self.command(*arguments), env=environment, capture_output=True, text=True, check=False)

    def offers(self, plan: Plan) -> bool | None:
        """Tell whether the torch of a plan can be had; None where its index cannot be reached.

        A wheel in a folder says by what it needs whether it is the CPU's build.
        """
        local = " @ " in plan.torch
        flags = ["--dry-run", "--reinstall", *([] if local else ["--no-deps"]), *plan.options]
        answer = self.ask("pip", "install", "--python", sys.executable, *flags, plan.torch)
        if local and "nvidia-" in answer.stderr:
            return False
        return None if answer.returncode > 1 else answer.returncode == 0


def install_plan(uv: Uv, plan: Plan, *, root: Path, venv: Path, group: str, repair: bool = False) -> None:
    """Bring a group's packages into the environment; raises InstallError, and the environment is as before then.

    After an interruption, and with `repair`, every package is installed anew (from what has arrived, where it has).
    """
    before = State.load(venv)
    replace(before, changing=True).save(venv)
    overrides = venv / "trellis-overrides.txt"
    overrides.write_text("".join(f"{line}\n" for line in (plan.torch, *plan.replacements)), encoding="utf-8")
    files = [word for name in GROUPS[group] for word in ("-r", str(root / name))]
    wanted = ["--require-hashes", "-r", str(plan.listing)] if plan.listing else ["--overrides", str(overrides), *files]
    anew = ["--reinstall"] if repair or before.changing else []
    if sys.platform == "win32":
        (venv / "Lib" / "site-packages" / RUNTIME_PATH_FILE).write_text(RUNTIME_PATH, encoding="utf-8")
    common = ["pip", "install", "--python", sys.executable, *plan.options]
    try:
        uv.run(*common, *anew, *wanted, hint=DAMAGED if plan.listing else HINT)
    except InstallError:
        before.save(venv)
        raise
    for extra in plan.extras:
        print(f"Installing {extra.name} (optional; licence: {extra.licence}) ...", flush=True)
        assert extra.requirement is not None
        try:
            uv.run(*common, *uv_options(extra.name), extra.requirement, plan.torch)
        except InstallError:
            print(f"{extra.name} could not be installed. The program works without it.")
    complete = {name: fingerprint(root, name) for name in ("main", group)}
    State({**before.groups, **complete}, plan.build).save(venv)


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as opened:
        if sys.platform == "win32":
            import msvcrt

            lock = lambda: msvcrt.locking(opened.fileno(), msvcrt.LK_NBLCK, 1)  # noqa: E731
        else:
            import fcntl

            lock = lambda: fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
        said = False
        while True:
            try:
                lock()
                break
            except OSError:
                if not said:
                    print("Another start is installing; waiting for it ...", flush=True)
                said = True
                time.sleep(1)
        yield
