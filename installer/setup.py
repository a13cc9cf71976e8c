"""`setup` and `doctor`: look at the machine, show the plan, and carry it out or leave it at that."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from installer import checks, requirements
from installer.commands import STARTER, start
from installer.environment import Uv, alone, install_plan
from installer.errors import InstallError
from installer.extras import EXTRAS
from installer.machine import Machine, look
from installer.offline import LISTING, download, read_build
from installer.pip_settings import local_folders
from installer.plan import TORCH_INDEX, Plan, make_plan, plan_from_folder
from installer.state import GROUPS, ROOT, VENV, State, is_current


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options of `setup`."""
    parser = argparse.ArgumentParser(prog=f"{STARTER} setup", description="Install what is missing.")
    add = parser.add_argument
    add("--group", choices=sorted(GROUPS), default="main", help="dev: the test tools too (default: main)")
    add("--yes", action="store_true", help="ask nothing; what needs an answer fails")
    add("--dry-run", action="store_true", help="show what would be installed, and stop")
    add("--repair", action="store_true", help="look at the machine again and install every package anew")
    add("--extra", action="append", default=[], metavar="NAME", help=f"also one of {', '.join(EXTRAS)}")
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument("--download", type=Path, metavar="DIR", help="put all packages into a folder; install nothing")
    folder.add_argument("--offline", type=Path, metavar="DIR", help="install from such a folder, without a network")
    return parser.parse_args(arguments)


def install(options: argparse.Namespace) -> int:
    """Carry `setup` out; returns 0, raises InstallError."""
    changes = options.repair or options.extra or options.offline or options.download or options.dry_run
    started = time.monotonic()
    with alone(ROOT / ".state" / "install.lock"):
        if not changes and is_current(ROOT, VENV, options.group):
            print("Everything is installed.")
            return 0
        uv = Uv()
        machine, plan = look_and_plan(uv, extras=options.extra, folder=options.offline)
        if options.dry_run:
            print("\n".join([*machine.lines(), *plan.lines(), *plan.optional_lines()]))
            return 0
        print("\n".join(plan.lines()), flush=True)
        _refuse_or_ask(plan, assume_yes=options.yes)
        if options.download:
            download(uv, plan, ROOT, options.download.resolve())
            return 0
        install_plan(uv, plan, root=ROOT, venv=VENV, group=options.group, repair=options.repair)
        if options.group == "dev":
            checks.provide_tools(uv, ROOT, required=os.environ.get("CI", "") not in ("", "0", "false"))
        print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def look_and_plan(uv: Uv, *, extras: Sequence[str] = (), folder: Path | None = None) -> tuple[Machine, Plan]:
    """Return the facts of this machine and the plan for it; nothing is changed. Raises InstallError."""
    machine = look(ROOT, earlier=State.load(VENV).build)
    if folder is not None:
        build = read_build(ROOT, folder)
        return machine, plan_from_folder(machine, folder.resolve() / LISTING, build, extras=extras)
    version = requirements.read_pins(ROOT / requirements.TORCH_FILE)["torch"]
    index = os.environ.get("TRELLIS_TORCH_INDEX", TORCH_INDEX).rstrip("/")
    wheels = [wheel for place in local_folders(uv.environment) for wheel in place.glob(f"torch-{version}-*.whl")]
    return machine, make_plan(machine, version, offers=uv.offers, extras=extras, wheels=sorted(wheels), index=index)


def _refuse_or_ask(plan: Plan, *, assume_yes: bool) -> None:
    """Raise InstallError if the plan has problems, or a question that is not answered with yes.

    `assume_yes` never answers a question that costs gigabytes: it means that nobody is there to be asked.
    """
    if plan.problems:
        raise InstallError("Nothing was installed: see the problem above.")
    if plan.question is None:
        return
    if assume_yes or not sys.stdin.isatty():
        raise InstallError(plan.question)
    if input(f"{plan.question}\nInstall it all the same? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InstallError("Nothing was installed.")


def diagnose(arguments: Sequence[str]) -> int:
    """Print the facts of this machine, then the program's own diagnosis, or the plan where it is not installed yet."""
    if is_current(ROOT, VENV, "main"):
        print("\n".join(look(ROOT, earlier=State.load(VENV).build).lines()), flush=True)
        return start(ROOT, "doctor", arguments)
    machine, plan = look_and_plan(Uv())
    print("\n".join([*machine.lines(), *plan.lines(), *plan.optional_lines()]))
    print("The program is not installed yet, or not completely: start it, or run setup.")
    return 1 if plan.problems else 0
