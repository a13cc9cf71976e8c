"""The one list of the commands of run.sh and run.bat: what each does, and what it runs."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from installer.errors import InstallError

STARTER = ".\\run.bat" if os.name == "nt" else "run.sh"  # PowerShell starts nothing of the folder by its bare name


@dataclass(frozen=True)
class Command:
    """`runs` is a module or file with the arguments that come before the person's own; () is the installer's work.

    `group` of packages must be installed first; None: the installer has a part in the command.
    """

    help: str
    runs: tuple[str, ...] = ()
    group: str | None = "main"


COMMANDS = {
    "ui": Command("the page in the browser (default)", ("gradio_main.py",)),
    "generate": Command("pictures to 3D assets:  {run} generate PICTURE... --output DIR", ("trellis", "generate")),
    "batch": Command("a folder of pictures to 3D assets, going on where it stopped", ("trellis", "batch")),
    "variant": Command("a model's shape in other colours:  {run} variant SOURCE --picture P", ("trellis", "variant")),
    "edit": Command("a part anew, or removed:  {run} edit SOURCE --box X,Y,Z,X,Y,Z ...", ("trellis", "edit")),
    "view": Command("a picture of an object to paint over, for edit", ("trellis", "view")),
    "retexture": Command("a mesh file in new colours, all else kept", ("trellis", "retexture")),
    "encode": Command("a mesh file as an asset that can be edited", ("trellis", "encode")),
    "decode": Command("the files of a stored asset", ("trellis", "decode")),
    "models": Command("which models are here; {run} models get NAME fetches one", ("trellis", "models")),
    "serve": Command("page and API without opening a browser", ("trellis", "serve")),
    "dataset": Command("a folder of mesh files as training data", ("trellis", "dataset")),
    "train": Command("fine-tune a model on one's own data, or train a network", ("train.py",)),
    "test": Command("lint, types and tests (with arguments: only pytest, with them)", group="dev"),
    "doctor": Command("what this machine has, what is installed and what would be used", ("trellis", "doctor"), None),
    "setup": Command("install or repair only; {run} setup --help lists the options", group=None),
    "update": Command("the newest version of the program (where git fetched it) and of its packages", group=None),
    "uninstall": Command("remove the environment; models and results stay", group=None),  # the starters' own
    "exec": Command("any command inside the environment:  {run} exec python script.py"),
    "help": Command("this text", group=None),
}


def usage() -> str:
    """What the starter says of itself."""
    lines = [f"  {name:<10} {command.help.format(run=STARTER)}" for name, command in COMMANDS.items()]
    options = f"{STARTER} COMMAND --help lists the options of a command"
    return "\n".join([f"usage: {STARTER} [COMMAND] [ARGUMENTS...]", "", *lines, "", options])


def start(root: Path, name: str, arguments: Sequence[str]) -> int:
    """Run a program's command in this process, which is the environment's own Python; returns its exit status."""
    if name == "exec":
        return _execute(root, arguments)
    program, *before = COMMANDS[name].runs
    sys.argv = [program, *before, *arguments]
    if program.endswith(".py"):
        sys.argv[0] = str(root / program)
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    return 0


def _execute(root: Path, command: Sequence[str]) -> int:
    """Run any program with the environment's programs first on the path."""
    if not command:
        raise InstallError("exec needs a command: exec python script.py")
    scripts = Path(sys.executable).parent
    uv = root / ".state" / "uv"  # `exec uv pip install NAME` adds a package of one's own
    path = os.pathsep.join([str(scripts), str(uv), str(uv / "bin"), os.environ.get("PATH", "")])
    program = shutil.which(command[0], path=path)
    if program is None:
        raise InstallError(f"There is no program {command[0]!r}.")
    env = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(scripts.parent), "PYTHONPATH": str(root)}
    try:
        if os.name != "nt":  # takes this process's place, so that signals reach it
            os.execve(program, list(command), env)
        return subprocess.run([program, *command[1:]], env=env, check=False).returncode
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be started: {error}") from error
