"""The steps of an installation: each has a fingerprint, is skipped when done, and can be run again at any time."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from installer import requirements
from installer.errors import CommandError, InstallError
from installer.plan import Plan
from installer.shell import Shell
from installer.state import State, environment_python, group_fingerprint, load_state, save_state

ATTEMPTS = 3
TORCH_CONSTRAINT = "trellis-torch.txt"
RESOLVED = "trellis-requirements.txt"

_CHECK = """
import sys, torch
version, build = torch.__version__, sys.argv[1]
cuda = torch.version.cuda
if version.split("+")[0] != sys.argv[2]: sys.exit(f"torch {version} is installed instead of {sys.argv[2]}")
if build == "cpu" and cuda: sys.exit(f"a CUDA build of torch ({version}) is installed instead of a CPU build")
if build != "cpu" and not cuda: sys.exit(f"a CPU build of torch ({version}) is installed instead of {build}")
import numpy, scipy, PIL, safetensors
"""


@dataclass(frozen=True)
class Step:
    """One unit that either has been done as `fingerprint` says or is to be run; `attempts` > 1 for network work."""

    name: str
    title: str
    fingerprint: str
    run: Callable[[Shell], None]
    attempts: int = 1


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def create_environment(shell: Shell, venv: Path) -> None:
    """Create or repair the virtual environment with the running interpreter.

    An environment of another Python version, or one whose interpreter does not start, is replaced.
    """
    python = environment_python(venv)
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    found = shell.read([str(python), "-c", probe], timeout=60) if python.exists() else None
    if found is not None and found.strip() == wanted:
        return
    shell.say(f"Creating the environment with Python {wanted} ...")
    shell.run([sys.executable, "-m", "venv", *(["--clear"] if venv.exists() else []), str(venv)])


def forget_interrupted(shell: Shell, venv: Path) -> None:
    """Make pip install again what it was stopped in the middle of, which it would take for installed otherwise.

    The file INSTALLER is written after all files of a package.
    """
    for packages in [*venv.glob("lib/python*/site-packages"), *venv.glob("Lib/site-packages")]:
        for folder in packages.glob("*.dist-info"):
            if not (folder / "INSTALLER").is_file():
                shell.record(f"{folder.name} is incomplete; it will be installed again")
                shutil.rmtree(folder, ignore_errors=True)


def build_steps(plan: Plan, root: Path, venv: Path, *, dev: bool) -> list[Step]:
    """Return the steps of a plan in order; each fingerprint contains the ones before it, so a change runs the rest."""
    version = requirements.torch_version(root)
    pip = [str(environment_python(venv)), "-m", "pip", "install"]
    constraint = venv / TORCH_CONSTRAINT
    replacements = dict(plan.replacements)

    def install_torch(shell: Shell) -> None:
        extra = ["--extra-index-url", plan.index] if plan.index else []
        shell.run([*pip, *extra, plan.torch])
        tagged = plan.torch if plan.torch.startswith("torch==") else f"torch=={version}"
        constraint.write_text(tagged + "\n", encoding="utf-8")

    def install_file(name: str, changes: dict[str, str]) -> Callable[[Shell], None]:
        def install(shell: Shell) -> None:
            resolved = venv / RESOLVED
            resolved.write_text(requirements.resolved_text(root / name, changes), encoding="utf-8")
            shell.run([*pip, "-c", str(constraint), "-r", str(resolved)])

        return install

    def check(shell: Shell) -> None:
        shell.run([str(environment_python(venv)), "-P", "-c", _CHECK, plan.build, version])

    main_hash = requirements.file_hash(root / requirements.MAIN_FILE)
    torch = _hash("torch", version, plan.torch, plan.index or "", plan.build)
    packages = _hash("packages", torch, main_hash, repr(sorted(replacements.items())))
    steps = [
        Step("torch", f"PyTorch {version} ({plan.build})", torch, install_torch, ATTEMPTS),
        Step("packages", "the other packages", packages, install_file(requirements.MAIN_FILE, replacements), ATTEMPTS),
    ]
    last = packages
    if dev:
        last = _hash("dev", packages, requirements.file_hash(root / requirements.DEV_FILE))
        steps.append(Step("dev", "the test tools", last, install_file(requirements.DEV_FILE, {}), ATTEMPTS))
    steps.append(Step("check", "a check of what is installed", _hash("check", last), check))
    return steps


def run_steps(shell: Shell, steps: list[Step], *, root: Path, venv: Path, group: str) -> State:
    """Run what is not done yet, storing the state after each step; raises CommandError naming the step.

    A failed step leaves the state of the ones before it: the next start goes on from there.
    """
    state = load_state(venv, root)
    fingerprint = group_fingerprint(root, group)
    for number, step in enumerate(steps, start=1):
        if state.done.get(step.name) == step.fingerprint:
            continue
        shell.say(f"[{number}/{len(steps)}] Installing {step.title} ...")
        _attempt(shell, step)
        state = state.with_step(step.name, step.fingerprint)
        save_state(venv, state)
    for member in ("main", group):
        member_fingerprint = fingerprint if member == group else group_fingerprint(root, member)
        state = state.with_group(member, member_fingerprint)
    save_state(venv, state)
    return state


def _attempt(shell: Shell, step: Step) -> None:
    for attempt in range(1, step.attempts + 1):
        try:
            step.run(shell)
            return
        except CommandError as error:
            if attempt == step.attempts:
                hint = "Check the network and start again: what is done is kept."
                raise CommandError(f"Installing {step.title} failed: {error}. {hint}", detail=error.detail) from error
            shell.say(f"      failed ({error}); another attempt in {5 * attempt} s")
            shell.sleep(5 * attempt)


def refuse_or_ask(plan: Plan, *, assume_yes: bool, ask: Callable[[str], bool] | None) -> None:
    """Raise InstallError if the plan has problems, or a question that is not answered with yes.

    `assume_yes` never answers a question that costs gigabytes: it means that nobody is there to be asked.
    """
    if plan.problems:
        raise InstallError("\n".join(plan.problems))
    if plan.question is None:
        return
    if assume_yes or ask is None:
        raise InstallError(plan.question)
    if not ask(plan.question):
        raise InstallError("Nothing was installed.")
