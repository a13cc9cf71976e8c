"""Starts documented commands, each up to where its arguments are read: JSON of commands in, JSON of failures out.

One process for all of them, so that torch is imported once. A program is started as `python` would start it, with all
that it imports; when its parser has taken the arguments, it is stopped.
"""

import argparse
import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

from installer.commands import COMMANDS
from installer.setup import parse

# Of requirements_dev.txt: only `test` installs them, and a fresh clone starts with another command.
FOR_TESTS = ("hypothesis", "imageio", "playwright", "plyfile", "pxr", "pygltflib", "pytest", "schemathesis")


class ArgumentsRead(BaseException):
    """The parser of a program has taken its arguments."""


_parse_args = argparse.ArgumentParser.parse_args


def read_and_stop(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
    parsed = _parse_args(parser, args, namespace)
    if hasattr(parsed, "operation"):  # values of a job's options are the request's to check
        from trellis.app.command_options import request_from

        request_from(parsed)
    raise ArgumentsRead


def run_python(words: list[str]) -> None:
    """What `python WORDS` does, until the arguments are read."""
    if words[0] == "-c":
        compile(words[1], "documented", "exec")
        raise ArgumentsRead
    by_name = words[0] == "-m"
    program, *sys.argv[1:] = words[1:] if by_name else words
    sys.argv[0] = program
    if by_name:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(program).parent))  # as `python` does
        runpy.run_path(program, run_name="__main__")


def start(command: list[str]) -> None:
    """Start one command of the starters, or the container's script; raises ArgumentsRead if all is well."""
    if command[0] == "docker":
        run_python(["docker/reconstruct.py", *command[command.index("reconstruct") + 1 :]])
    name, *arguments = command[1:] or ["ui"]
    if name == "setup":
        parse(arguments)
    elif name == "exec" and arguments[0] == "python":
        run_python(arguments[1:])
    elif name == "exec" and arguments[0] in ("uv", "ray"):  # they come with the environment
        raise ArgumentsRead
    elif COMMANDS[name].runs:
        program, *before = COMMANDS[name].runs
        run_python([*(["-m"] if not program.endswith(".py") else []), program, *before, *arguments])
    elif not arguments:
        raise ArgumentsRead


def failure(command: list[str]) -> str | None:
    """Why a command cannot be started, None if it can."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            start(command)
    except ArgumentsRead:
        return None
    except SystemExit as end:
        return None if end.code == 0 else f"status {end.code}: {said.getvalue()[-300:]}"
    except Exception as error:  # noqa: BLE001 - whatever a program raises is the answer
        return f"{type(error).__name__}: {error}"
    return "it read no arguments"


if __name__ == "__main__":
    sys.modules |= dict.fromkeys(FOR_TESTS)  # an import of them fails
    argparse.ArgumentParser.parse_args = read_and_stop  # type: ignore[method-assign]
    failures = {" ".join(command): failure(command) for command in json.load(sys.stdin)}
    sys.stdout.write(json.dumps({command: why for command, why in failures.items() if why is not None}))
