"""What has been installed: a small JSON file inside the environment, replaced in one stroke."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from installer import requirements

SCHEMA = 1
STEPS = 2  # raised when there is a new step, so that installations from before it are completed
STATE_FILE = "trellis-install.json"
GROUPS = {
    "main": (requirements.TORCH_FILE, requirements.MAIN_FILE),
    "dev": (requirements.TORCH_FILE, requirements.MAIN_FILE, requirements.DEV_FILE),
}


@dataclass(frozen=True)
class State:
    """`done` maps a step's name to the fingerprint of what it did; `complete` maps a group to its files' hash.

    `build` is torch's, as "cpu" or "cu130", "" before torch is there.
    """

    root: str
    done: dict[str, str] = field(default_factory=dict)
    complete: dict[str, str] = field(default_factory=dict)
    build: str = ""
    schema: int = SCHEMA

    def with_step(self, name: str, fingerprint: str) -> State:
        """Return the state after a step has succeeded."""
        return replace(self, done={**self.done, name: fingerprint})

    def with_group(self, group: str, fingerprint: str) -> State:
        """Return the state after all steps of a group have succeeded."""
        return replace(self, complete={**self.complete, group: fingerprint})


def environment_python(venv: Path) -> Path:
    """Return the path of the environment's interpreter on this system."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def group_fingerprint(root: Path, group: str) -> str:
    """Return the hash of the requirement files that a group installs."""
    return "-".join([str(STEPS), *(requirements.file_hash(root / name)[:16] for name in GROUPS[group])])


def load_state(venv: Path, root: Path) -> State:
    """Return the stored state, or an empty one if there is none, it is damaged, or the folder has moved."""
    empty = State(root=str(root))
    try:
        stored = State(**json.loads((venv / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return empty
    usable = stored.schema == SCHEMA and stored.root == str(root) and environment_python(venv).exists()
    return stored if usable else empty


def save_state(venv: Path, state: State) -> None:
    """Write the state aside and rename it into place."""
    aside = venv / (STATE_FILE + ".part")
    aside.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    aside.replace(venv / STATE_FILE)


def installed_build(venv: Path, root: Path) -> str:
    """Return the build of torch that an earlier installation left here, "" if there is none."""
    return load_state(venv, root).build


def is_current(venv: Path, root: Path, group: str) -> bool:
    """Tell whether a group is installed from the requirement files as they are now; reads three small files."""
    return load_state(venv, root).complete.get(group) == group_fingerprint(root, group)
