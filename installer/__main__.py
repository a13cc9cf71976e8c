"""`python -m installer COMMAND ...` is run.sh COMMAND, run by the environment's Python.

`ready COMMAND` goes before: it tells the starters (by 0) that the command can begin. Else they bring uv and call
`prepare COMMAND`, which installs what the command needs.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from installer.commands import COMMANDS, start, usage
from installer.errors import InstallError
from installer.state import ROOT, VENV, is_current

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status: 1 after a clear message, 2 for an unknown command, INTERRUPTED."""
    step, *rest = (sys.argv[1:] if arguments is None else arguments) or ["ui"]
    name = _command(rest if step in ("ready", "prepare") else [step])
    if step == "ready":
        return 0 if _is_ready(name) else 1
    try:
        if step == "prepare":
            return _prepare(name)
        if name not in COMMANDS or name in ("help", "uninstall"):  # which the starters do themselves
            return _explain(name, step)
        if COMMANDS[name].group and name != "test":
            return start(ROOT, name, rest)
        _stop_when_told_to()
        return _own(name, rest)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        hint = " The next start goes on from here." if step == "prepare" or name in ("setup", "update") else ""
        print(f"\nStopped.{hint}", file=sys.stderr)
        return INTERRUPTED
    return 1


def _command(arguments: list[str]) -> str:
    name = arguments[0].lower() if arguments else "ui"
    return "help" if name in ("-h", "--help") else name


def _is_ready(name: str) -> bool:
    """Whether a command can begin without uv; one that nobody knows is explained at once."""
    group = "main" if name == "doctor" else COMMANDS[name].group if name in COMMANDS else None
    return is_current(ROOT, VENV, group) if group else name not in ("setup", "update")


def _prepare(name: str) -> int:
    group = COMMANDS[name].group if name in COMMANDS else None
    if group and not is_current(ROOT, VENV, group):
        from installer.setup import install, parse

        _stop_when_told_to()
        install(parse(["--group", group]))
    return 0


def _explain(name: str, given: str) -> int:
    if name == "help":
        print(usage())
        return 0
    from difflib import get_close_matches

    file = [f'generate "{given}"'] if Path(given).is_file() else []  # a picture that was dragged onto run.bat, say
    meant = "".join(f" Did you mean '{like}'?" for like in file or get_close_matches(name, COMMANDS, n=1))
    print(f"unknown command '{name}'.{meant}\n\n{usage()}", file=sys.stderr)
    return 2


def _own(name: str, arguments: list[str]) -> int:
    """Carry out a command of the installer's own; each is imported here, so that `ready` stays quick."""
    if name == "test":
        from installer.checks import run_all

        return run_all(ROOT, arguments)
    if name == "update":
        from installer.update import update

        return update(ROOT)
    from installer.setup import diagnose, install, parse

    return diagnose(arguments) if name == "doctor" else install(parse(arguments))


def _stop_when_told_to() -> None:
    """Let the end of a terminal or a service stop the work as Ctrl-C does, its child processes included."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


if __name__ == "__main__":
    sys.exit(main())
