"""`python -m installer check | install | test`: used by run.sh and run.bat."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from installer import checks, requirements
from installer.errors import CommandError, InstallError
from installer.plan import CUDA_BUILDS, describe, make_plan
from installer.probe import probe_machine
from installer.shell import LoggingShell, Shell
from installer.state import GROUPS, environment_python, is_current
from installer.steps import build_steps, create_environment, forget_interrupted, refuse_or_ask, run_steps

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / ".state" / "install.log"
LOCK = ROOT / ".state" / "install.lock"
STALE = 3  # exit status of `check`
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 after a clear message, STALE, INTERRUPTED, or the status of the tests."""
    options = _parser().parse_args(arguments)
    if options.command == "check":
        return 0 if is_current(VENV, ROOT, options.group) else STALE
    try:
        _stop_when_told_to()
        if options.command == "test":
            return checks.run_all(ROOT, options.pytest_arguments)
        shell = LoggingShell(LOG)
        with _only_one(shell):
            install(shell, options)
        return 0
    except CommandError as error:
        print(f"\n{error.detail}\n\n{error}\nThe whole log: {LOG}", file=sys.stderr)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        hint = "" if options.command == "test" else " The next start goes on from here."
        print(f"\nStopped.{hint}", file=sys.stderr)
        return INTERRUPTED
    return 1


def _stop_when_told_to() -> None:
    """Let the end of a terminal or a service stop the work as Ctrl-C does, its child processes included."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="installer", description="Create, check and repair the Python environment.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help=f"exit with {STALE} if something is to be installed; nothing is changed")
    check.add_argument("--group", choices=sorted(GROUPS), default="main")
    run = commands.add_parser("install", help="install what is missing")
    run.add_argument("--group", choices=sorted(GROUPS), default="main")
    run.add_argument("--yes", action="store_true", help="ask nothing; what needs an answer fails")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.add_argument("--repair", action="store_true", help="look at the machine again and check every package")
    test = commands.add_parser("test", help="lint, types and tests, without the network")
    test.add_argument("pytest_arguments", nargs=argparse.REMAINDER)
    return parser


def install(shell: Shell, options: argparse.Namespace) -> None:
    """Probe, plan, and run the steps that are not done; raises InstallError."""
    started = time.monotonic()
    if not options.dry_run:
        if not options.repair and is_current(VENV, ROOT, options.group):
            return
        create_environment(shell, VENV)
        forget_interrupted(shell, VENV)
        if options.repair:
            (VENV / "trellis-install.json").unlink(missing_ok=True)
    version = requirements.torch_version(ROOT)
    python = environment_python(VENV) if environment_python(VENV).exists() else Path(sys.executable)
    machine = probe_machine(shell, ROOT, python=python, torch_version=version, builds=tuple(CUDA_BUILDS))
    plan = make_plan(machine, version)
    if options.dry_run:
        shell.say(describe(plan))
        return
    shell.record(describe(plan))
    for note in plan.notes:
        shell.say(note)
    refuse_or_ask(plan, assume_yes=options.yes, ask=_asker())
    steps = build_steps(plan, ROOT, VENV, dev=options.group == "dev")
    run_steps(shell, steps, root=ROOT, venv=VENV, group=options.group)
    if options.group == "dev":
        required = os.environ.get("CI", "") not in ("", "0", "false")
        checks.provide_chromium(shell, required=required)
        checks.provide_gltf_validator(shell, ROOT, required=required)
    shell.say(f"Installed in {time.monotonic() - started:.0f} s.")


def _asker() -> Callable[[str], bool] | None:
    if not sys.stdin.isatty():
        return None
    return lambda question: input(f"{question}\nInstall it all the same? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def _only_one(shell: Shell) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends."""
    with LOCK.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            lock = lambda: msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # noqa: E731
        else:
            import fcntl

            lock = lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
        waiting = False
        while True:
            try:
                lock()
                break
            except OSError:
                if not waiting:
                    shell.say("Another start is installing; waiting for it ...")
                waiting = True
                time.sleep(1)
        yield


if __name__ == "__main__":
    sys.exit(main())
