"""A folder of wheels for machines without a network: made where there is one, checked where there is none."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from installer import requirements
from installer.errors import InstallError
from installer.plan import Plan
from installer.shell import Shell
from installer.steps import ATTEMPTS, WINDOWS_RUNTIME, Step, retry

MANIFEST = "trellis-wheels.json"
SCHEMA = 1


@dataclass(frozen=True)
class WheelFolder:
    """What a folder holds: the build of torch, what pip is to be asked for, for which Python and system, and hashes.

    `requirements` is the hash of the pins it was made from; `files` maps a file's name to its SHA-256.
    """

    build: str
    torch: str
    python: str
    system: str
    architecture: str
    requirements: str
    files: dict[str, str]
    schema: int = SCHEMA


def this_python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def pins_fingerprint(root: Path, plan: Plan) -> str:
    """Return the hash of the pins that a plan installs."""
    texts = [requirements.resolved_text(root / requirements.TORCH_FILE, {})]
    texts.append(requirements.resolved_text(root / requirements.MAIN_FILE, dict(plan.replacements)))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(shell: Shell, plan: Plan, root: Path, *, python: Path, folder: Path) -> WheelFolder:
    """Put every package of a plan into `folder`; can be interrupted and started again. Raises CommandError.

    `python` is an interpreter with pip; it is the Python that the folder will be for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    version = requirements.torch_version(root)
    pip = [str(python), "-m", "pip", "download", "--only-binary", ":all:", "--dest", str(folder)]
    index = ["--extra-index-url", plan.index] if plan.index else []
    pins = folder / "trellis-requirements.part"
    constraint = folder / "trellis-torch.part"

    def fetch(shell: Shell) -> None:
        if plan.system == "Windows":
            shell.run([*pip, WINDOWS_RUNTIME])
        shell.run([*pip, *index, plan.torch])
        wheels = sorted(folder.glob(f"torch-{version}*.whl"))
        if len(wheels) != 1:
            raise InstallError(f"{folder} must hold one wheel of torch {version}, not {len(wheels)}: empty it first.")
        exact = requirements.wheel_version(wheels[0].name)
        constraint.write_text(f"torch=={exact}\n", encoding="utf-8")
        pins.write_text(
            requirements.resolved_text(root / requirements.MAIN_FILE, dict(plan.replacements)), encoding="utf-8"
        )
        shell.run([*pip, "--find-links", str(folder), *index, "-c", str(constraint), "-r", str(pins)])

    shell.say(f"Downloading the packages to {folder} ...")
    retry(shell, Step("download", "the packages", "", fetch, ATTEMPTS, verb="Downloading"))
    torch = constraint.read_text(encoding="utf-8").strip()
    for part in (pins, constraint):
        part.unlink()
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    made = WheelFolder(
        plan.build, torch, this_python(), platform.system(), platform.machine(), pins_fingerprint(root, plan), files
    )
    aside = folder / (MANIFEST + ".part")
    aside.write_text(json.dumps(asdict(made), indent=1), encoding="utf-8")
    aside.replace(folder / MANIFEST)
    size = sum((folder / name).stat().st_size for name in files)
    shell.say(f"{len(files)} files, {size / 1e6:.0f} MB. Install from them with: setup --offline {folder}")
    return made


def read_folder(folder: Path) -> WheelFolder:
    """Return what a folder holds after checking every file of it; raises InstallError with what to do."""
    again = "Make the folder again with: setup --download FOLDER"
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        made = WheelFolder(**stored)
    except FileNotFoundError as error:
        raise InstallError(f"{folder} is no complete folder of packages: {MANIFEST} is missing. {again}") from error
    except (OSError, ValueError, TypeError) as error:
        raise InstallError(f"{folder / MANIFEST} is damaged ({error}). {again}") from error
    here = (this_python(), platform.system(), platform.machine())
    there = (made.python, made.system, made.architecture)
    if made.schema != SCHEMA or there != here:
        raise InstallError(f"{folder} is for Python {' '.join(there)}; this is Python {' '.join(here)}. {again}")
    for name, expected in made.files.items():
        path = folder / name
        if not path.is_file():
            raise InstallError(f"{path} is missing. {again}")
        if file_sha256(path) != expected:
            raise InstallError(f"{path} is damaged: its SHA-256 is not the one it had. {again}")
    return made
