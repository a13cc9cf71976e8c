"""`python -m installer check | install | start | test | doctor | update`: used by run.sh and run.bat."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from installer import checks, requirements
from installer.errors import CommandError, InstallError
from installer.extras import EXTRAS
from installer.offline import download, pins_fingerprint, read_folder
from installer.plan import CUDA_BUILDS, Plan, describe, describe_machine, make_plan, plan_from_folder
from installer.probe import Machine, probe_machine
from installer.shell import LoggingShell, Shell
from installer.start import start
from installer.state import GROUPS, environment_python, installed_build, is_current
from installer.steps import build_steps, create_environment, forget_interrupted, refuse_or_ask, run_steps
from installer.update import update

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / ".state" / "install.log"
LOCK = ROOT / ".state" / "install.lock"
STALE = 3  # exit status of `check`
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, 1 after a clear message, STALE, INTERRUPTED, or the status of the tests."""
    given = sys.argv[1:] if arguments is None else arguments
    options = argparse.Namespace(command="start") if given[:1] == ["start"] else _parser().parse_args(given)
    if options.command == "check":
        return 0 if is_current(VENV, ROOT, options.group) else STALE
    try:
        if options.command == "start":  # its arguments are the program's own
            return start(ROOT, given[1:])
        _stop_when_told_to()
        if options.command == "test":
            return checks.run_all(ROOT, options.pytest_arguments)
        shell = LoggingShell(LOG)
        if options.command == "doctor":
            return diagnose(shell, options.arguments)
        with _only_one(shell):
            if options.command == "update":
                update(shell, ROOT, install=lambda: install(shell, _parser().parse_args(["install", "--yes"])))
            else:
                install(shell, options)
        return 0
    except CommandError as error:
        print(f"\n{error.detail}\n\n{error}\nThe whole log: {LOG}", file=sys.stderr)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        hint = "" if options.command in ("start", "test", "doctor") else " The next start goes on from here."
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
    run = commands.add_parser("install", aliases=["setup"], help="install what is missing")
    run.add_argument("--group", choices=sorted(GROUPS), default="main")
    run.add_argument("--yes", action="store_true", help="ask nothing; what needs an answer fails")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.add_argument("--repair", action="store_true", help="look at the machine again and check every package")
    run.add_argument("--extra", action="append", default=[], metavar="NAME", help=f"also one of {', '.join(EXTRAS)}")
    folder = run.add_mutually_exclusive_group()
    folder.add_argument("--download", type=Path, metavar="DIR", help="put all packages into a folder; install nothing")
    folder.add_argument("--offline", type=Path, metavar="DIR", help="install from such a folder, without a network")
    doctor = commands.add_parser("doctor", help="what this machine has, what is installed and what would be used")
    doctor.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser("update", help="the newest version, where git fetched the program, and its packages")
    test = commands.add_parser("test", help="lint, types and tests, without the network")
    test.add_argument("pytest_arguments", nargs=argparse.REMAINDER)
    return parser


def install(shell: Shell, options: argparse.Namespace) -> None:
    """Probe, plan, and run the steps that are not done; raises InstallError."""
    started = time.monotonic()
    changes = options.repair or options.extra or options.offline or options.download or options.dry_run
    if not changes and is_current(VENV, ROOT, options.group):
        shell.say("Everything is installed.")
        return
    if not options.dry_run:  # asking the configured index needs a pip, which the system's Python may lack
        create_environment(shell, VENV)
        forget_interrupted(shell, VENV)
    machine, plan = _look_and_plan(shell, options)
    if options.dry_run:
        shell.say(describe_machine(machine))
        shell.say(describe(plan))
        return
    shell.record(describe_machine(machine) + "\n" + describe(plan))
    for note in plan.notes:
        shell.say(note)
    refuse_or_ask(plan, assume_yes=options.yes, ask=_asker())
    if options.download:
        download(shell, plan, ROOT, python=environment_python(VENV), folder=options.download.resolve())
        return
    if options.repair:
        (VENV / "trellis-install.json").unlink(missing_ok=True)
    steps = build_steps(plan, ROOT, VENV, dev=options.group == "dev")
    run_steps(shell, steps, root=ROOT, venv=VENV, group=options.group)
    if options.group == "dev":
        required = os.environ.get("CI", "") not in ("", "0", "false")
        checks.provide_chromium(shell, required=required)
        checks.provide_gltf_validator(shell, ROOT, required=required)
        checks.resolve_for_windows(shell, ROOT, required=required)
    shell.say(f"Installed in {time.monotonic() - started:.0f} s.")


def _look_and_plan(shell: Shell, options: argparse.Namespace) -> tuple[Machine, Plan]:
    """Return the facts and the plan; nothing has been changed when this raises InstallError."""
    version = requirements.torch_version(ROOT)
    python = environment_python(VENV) if environment_python(VENV).exists() else Path(sys.executable)
    folder = options.offline.resolve() if options.offline else None
    machine = probe_machine(
        shell,
        ROOT,
        python=python,
        torch_version=version,
        builds=tuple(CUDA_BUILDS),
        online=folder is None,
        earlier=installed_build(VENV, ROOT),
    )
    if folder is None:
        return machine, make_plan(machine, version, extras=options.extra)
    made = read_folder(folder)
    plan = plan_from_folder(machine, str(folder), build=made.build, torch=made.torch, extras=options.extra)
    if made.requirements != pins_fingerprint(ROOT, plan):
        raise InstallError(f"{folder} is of another version of the program. Make it again with: setup --download DIR")
    return machine, plan


def diagnose(shell: Shell, arguments: list[str]) -> int:
    """Print the facts and the plan of this machine, then, if the program is installed, its own diagnosis."""
    parsed = _parser().parse_args(["install", "--dry-run"])
    machine, plan = _look_and_plan(shell, parsed)
    shell.say(describe_machine(machine))
    shell.say(describe(plan))
    if not is_current(VENV, ROOT, "main"):
        shell.say("The program is not installed yet, or not completely: start it, or run setup.")
        return 1 if plan.problems else 0
    shell.say("")
    command = [str(environment_python(VENV)), "-P", "-m", "trellis", "doctor", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


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
