"""Run one of the program's commands in this process, which is the environment's own Python already."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from installer.errors import InstallError

# command: the module or file that it runs, and the arguments that come before the person's own
_MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "generate": ("trellis", ("generate",)),
    "batch": ("trellis", ("batch",)),
    "models": ("trellis", ("models",)),
    "test": ("installer", ("test",)),
}
_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ui": ("gradio_main.py", ()),
    "serve": ("gradio_main.py", ("--no-browser",)),
    "train": ("train.py", ()),
}
COMMANDS = (*_MODULES, *_FILES, "exec")


def start(root: Path, arguments: Sequence[str]) -> int:
    """Run `arguments[0]` (none: `ui`) with the rest; returns its exit status. Raises InstallError, SystemExit."""
    command, *rest = arguments or ["ui"]
    command = command.lower()
    if command == "exec":
        return _execute(root, rest)
    if command in _MODULES:
        module, before = _MODULES[command]
        sys.argv = [module, *before, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return 0
    if command in _FILES:
        file, before = _FILES[command]
        sys.argv = [str(root / file), *before, *rest]
        runpy.run_path(str(root / file), run_name="__main__")
        return 0
    raise InstallError(f"Unknown command {command!r}; choose one of {', '.join(COMMANDS)}.")


def _execute(root: Path, command: Sequence[str]) -> int:
    """Run any program with the environment's programs first on the path."""
    if not command:
        raise InstallError("exec needs a command: exec python script.py")
    scripts = Path(sys.executable).parent
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", "")])
    program = shutil.which(command[0], path=path)
    if program is None:
        raise InstallError(f"There is no program {command[0]!r}.")
    env = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(scripts.parent), "PYTHONPATH": str(root)}
    try:
        return subprocess.run([program, *command[1:]], env=env, check=False).returncode
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be started: {error}") from error
