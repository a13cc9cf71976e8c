"""Run commands: output to a log file, a short line of progress to the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from installer.errors import CommandError, InstallError

# Settings that would send packages elsewhere, or another program's modules into ours.
_FOREIGN = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # what pip looks at; not at SSL_CERT_FILE
_PROGRESS = ("Collecting ", "Downloading ", "Installing collected packages", "Building wheel", "Get:", "Setting up ")


class Shell(Protocol):
    """What the steps need from the outside world; tests pass a fake one."""

    def say(self, text: str) -> None:
        """Show one line to the person and keep it in the log."""

    def record(self, text: str) -> None:
        """Keep text in the log only."""

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Run a command; raise CommandError if it does not exit with 0."""

    def read(self, command: Sequence[str], *, timeout: float) -> str | None:
        """Return a command's standard output, or None if it is missing, fails or takes longer than `timeout` s."""

    def sleep(self, seconds: float) -> None:
        """Wait before a retry."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings that would leak into the installation.

    Certificates that the system's programs trust (SSL_CERT_FILE) are trusted by pip too.
    """
    env = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    if env.get("SSL_CERT_FILE") and not any(env.get(name) for name in _CERTIFICATES):
        env["PIP_CERT"] = env["SSL_CERT_FILE"]
    return {**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **(extra or {})}


def _stop(process: subprocess.Popen[str]) -> None:
    """End a package manager, which is never left behind: it gets time to remove its temporary files.

    A terminal's Ctrl-C has reached it already; a second one would interrupt its cleaning up.
    """
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
            return
        process.terminate() if os.name == "nt" else process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class LoggingShell:
    """The real shell. Every command and its whole output go to `log`."""

    def __init__(self, log: Path) -> None:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._log = log.open("a", encoding="utf-8")
        except OSError as error:
            raise InstallError(
                f"Cannot write in {log.parent.parent}: {error.strerror}. Move the folder to a place you may write to."
            ) from error
        self._log.write(f"\n==== {time.strftime('%Y-%m-%d %H:%M:%S')} {sys.platform} Python {sys.version}\n")

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.record(text)

    def record(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self._log.write("$ " + " ".join(command) + "\n")
        last: deque[str] = deque(maxlen=15)
        try:
            process = subprocess.Popen(
                command,
                env=clean_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise CommandError(f"{command[0]} cannot be started: {error}") from error
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self._log.write(line)
                self._log.flush()  # whoever looks why nothing seems to happen sees it
                last.append(line.rstrip())
                self._show(line.strip())
            code = process.wait()
        finally:
            if process.poll() is None:
                _stop(process)
            self._log.flush()
            self._clear()
        if code != 0:
            raise CommandError(f"{Path(command[0]).name} exited with {code}", detail="\n".join(last))

    def read(self, command: Sequence[str], *, timeout: float) -> str | None:
        self._log.write("$ " + " ".join(command) + "\n")
        try:
            result = subprocess.run(
                command,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._log.write(f"{command[0]}: {error}\n")
            return None
        self._log.write(result.stderr[-2000:])
        return result.stdout if result.returncode == 0 else None

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _show(self, line: str) -> None:
        if sys.stdout.isatty() and line.startswith(_PROGRESS):
            print(f"\r\x1b[K      {line[:90]}", end="", flush=True)

    def _clear(self) -> None:
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)
