"""The steps of an installation: each has a fingerprint, is skipped when done, and can be run again at any time."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from installer import extras, requirements
from installer.errors import CommandError, InstallError
from installer.plan import Plan
from installer.shell import Shell
from installer.state import State, environment_python, group_fingerprint, load_state, save_state

ATTEMPTS = 3
NETWORK_HINT = " Check the network and start again: what is done is kept."
CERTIFICATE_HINT = (
    " Something between this computer and the network (a virus scanner, a company's proxy) answers with a certificate "
    "of its own. Set SSL_CERT_FILE to the file of that certificate and start again: what is done is kept."
)
TORCH_CONSTRAINT = "trellis-torch.txt"
RESOLVED = "trellis-requirements.txt"
BEFORE = "trellis-before.txt"  # the packages of the last complete installation, while it is being changed

# torch and other packages need Microsoft's C++ runtime, which neither Windows nor Python brings in full; without it
# importing torch fails on a fresh Windows. The package puts it beside the environment's programs, the .pth file makes
# every start of the environment's Python look there, before the possibly older ones of the system.
WINDOWS_RUNTIME = "msvc-runtime==14.44.35112"
RUNTIME_PATH_FILE = "trellis_runtime.pth"
RUNTIME_USERS = "import torch, onnxruntime"
RUNTIME_TIMEOUT = 600.0  # seconds; virus scanners look at every library that is loaded for the first time
_RUNTIME_PATH = 'import os, sys; os.add_dll_directory(os.path.join(sys.prefix, "Scripts"))\n'

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
    """One unit that either has been done as `fingerprint` says or is to be run; `attempts` > 1 for network work.

    An `optional` one may fail: that is said, and the installation is complete without it.
    """

    name: str
    title: str
    fingerprint: str
    run: Callable[[Shell], None]
    attempts: int = 1
    optional: bool = False
    verb: str = "Installing"
    build: str = ""  # what torch's step leaves


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


def pip_source(plan: Plan) -> list[str]:
    """Return pip's options that say where packages come from: the configured index, or one folder and nothing else."""
    return ["--no-index", "--find-links", plan.wheels] if plan.wheels else []


def build_steps(plan: Plan, root: Path, venv: Path, *, dev: bool) -> list[Step]:
    """Return the steps of a plan in order; each fingerprint contains the ones before it, so a change runs the rest."""
    version = requirements.torch_version(root)
    python = str(environment_python(venv))
    pip = [python, "-m", "pip", "install", *pip_source(plan)]
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
        shell.run([python, "-P", "-c", _CHECK, plan.build, version])

    def warm(shell: Shell) -> None:
        shell.run([python, "-P", "-c", "import torch, rembg"])

    def install_runtime(shell: Shell) -> None:
        packages_folder = venv / "Lib" / "site-packages"
        packages_folder.mkdir(parents=True, exist_ok=True)
        (packages_folder / RUNTIME_PATH_FILE).write_text(_RUNTIME_PATH, encoding="utf-8")
        try:
            shell.run([*pip, WINDOWS_RUNTIME])
        except CommandError as error:  # the system's own may do: what counts is that the packages can be imported
            if shell.read([python, "-P", "-c", RUNTIME_USERS], timeout=RUNTIME_TIMEOUT) is None:
                raise
            shell.record(error.detail)
            shell.say("      It could not be fetched; the one that this Windows has is enough.")

    main_hash = requirements.file_hash(root / requirements.MAIN_FILE)
    torch = _hash("torch", version, plan.torch, plan.index or "", plan.build)
    packages = _hash("packages", torch, main_hash, repr(sorted(replacements.items())))
    steps = [
        Step("torch", f"PyTorch {version} ({plan.build})", torch, install_torch, ATTEMPTS, build=plan.build),
        Step("packages", "the other packages", packages, install_file(requirements.MAIN_FILE, replacements), ATTEMPTS),
    ]
    if plan.system == "Windows":
        runtime = _hash("runtime", WINDOWS_RUNTIME, _RUNTIME_PATH)
        steps.append(Step("runtime", "Microsoft's C++ runtime", runtime, install_runtime, ATTEMPTS))
    last = packages
    if dev:
        last = _hash("dev", packages, requirements.file_hash(root / requirements.DEV_FILE))
        steps.append(Step("dev", "the test tools", last, install_file(requirements.DEV_FILE, {}), ATTEMPTS))
    steps += _extra_steps(plan, pip, constraint, packages)
    steps.append(Step("check", "a check of what is installed", _hash("check", last), check))
    title = "background removal (compiled once, about a minute)"
    steps.append(Step("warm", title, _hash("warm", packages), warm, optional=True, verb="Preparing"))
    return steps


def _extra_steps(plan: Plan, pip: list[str], constraint: Path, packages: str) -> list[Step]:
    def installer(name: str, requirement: str) -> Callable[[Shell], None]:
        options = [*extras.pip_options(name), "-c", str(constraint)]
        return lambda shell: shell.run([*pip, *options, requirement])

    steps = []
    for extra in plan.extras:
        assert extra.requirement is not None
        title = f"{extra.name} (optional; licence: {extra.licence})"
        fingerprint = _hash("extra", extra.requirement, packages)
        run = installer(extra.name, extra.requirement)
        steps.append(Step(f"extra {extra.name}", title, fingerprint, run, optional=True))
    return steps


def run_steps(shell: Shell, steps: list[Step], *, root: Path, venv: Path, group: str) -> State:
    """Run what is not done yet, storing the state after each step; raises CommandError naming the step.

    A failed step of a first installation leaves the state of the ones before it: the next start goes on from there.
    One that was complete before gets its packages back.
    """
    state = load_state(venv, root)
    before = state
    fingerprint = group_fingerprint(root, group)
    left = [step for step in steps if state.done.get(step.name) != step.fingerprint]
    if left and state.complete:
        _remember_packages(shell, venv)
    for number, step in enumerate(steps, start=1):
        if step not in left:
            continue
        shell.say(f"[{number}/{len(steps)}] {step.verb} {step.title} ...")
        try:
            retry(shell, step)
        except CommandError as error:
            if not step.optional:
                _roll_back(shell, venv, before)
                raise
            shell.record(error.detail)
            shell.say(f"      {error} The program works without it.")
        state = replace(state.with_step(step.name, step.fingerprint), build=step.build or state.build)
        save_state(venv, state)
    for member in ("main", group):
        member_fingerprint = fingerprint if member == group else group_fingerprint(root, member)
        state = state.with_group(member, member_fingerprint)
    save_state(venv, state)
    (venv / BEFORE).unlink(missing_ok=True)
    return state


def _remember_packages(shell: Shell, venv: Path) -> None:
    """Note the packages of a complete installation; one that an interrupted change left noted stays as it is."""
    noted = venv / BEFORE
    if noted.exists():
        return
    listing = shell.read([str(environment_python(venv)), "-m", "pip", "freeze", "--all"], timeout=120)
    if listing is not None:
        noted.write_text(listing, encoding="utf-8")


def _roll_back(shell: Shell, venv: Path, before: State) -> None:
    """Bring back the packages from before a failed change, and with them the state that described them."""
    noted = venv / BEFORE
    if not noted.exists():
        return
    shell.say("Bringing back the packages from before ...")
    try:
        shell.run([str(environment_python(venv)), "-m", "pip", "install", "--no-deps", "-r", str(noted)])
    except CommandError as error:
        shell.record(error.detail)
        shell.say("      that failed too; the next start tries the change again.")
        return
    save_state(venv, before)
    noted.unlink()


def retry(shell: Shell, step: Step) -> None:
    """Run a step, again after a pause if it fails; raises CommandError saying what to do."""
    for attempt in range(1, step.attempts + 1):
        try:
            step.run(shell)
            return
        except CommandError as error:
            distrusted = "CERTIFICATE_VERIFY_FAILED" in error.detail  # time does not change that
            if attempt == step.attempts or distrusted:
                hint = CERTIFICATE_HINT if distrusted else NETWORK_HINT
                hint = "" if step.optional else hint
                message = f"{step.verb} {step.title} failed: {error}.{hint}"
                raise CommandError(message, detail=error.detail) from error
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
