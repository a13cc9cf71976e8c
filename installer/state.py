"""What has been installed: a small JSON file inside the environment, replaced in one stroke."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from installer import requirements

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
GROUPS = {
    "main": (requirements.TORCH_FILE, requirements.MAIN_FILE),
    "dev": (requirements.TORCH_FILE, requirements.MAIN_FILE, requirements.DEV_FILE, requirements.CLUSTER_FILE),
}


@dataclass(frozen=True)
class State:
    """`groups` maps a complete group to its fingerprint; `build` is torch's, as "cpu" or "cu130".

    `changing`: an installation has begun and not ended.
    """

    groups: dict[str, str] = field(default_factory=dict)
    build: str = ""
    changing: bool = False

    @classmethod
    def load(cls, venv: Path) -> State:
        """Return what is stored; an empty state if there is none or it is damaged."""
        try:
            return cls(**json.loads((venv / "trellis-state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, venv: Path) -> None:
        """Write the state aside and rename it into place."""
        aside = venv / "trellis-state.part"
        aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        aside.replace(venv / "trellis-state.json")


def fingerprint(root: Path, group: str) -> str:
    """Return what changes with the requirement files of a group, and with the Python that they are installed for."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return f"{python}-{requirements.files_hash(*(root / name for name in GROUPS[group]))}"


def is_current(root: Path, venv: Path, group: str) -> bool:
    """Tell whether a group is installed as its requirement files are now; reads a few small files."""
    state = State.load(venv)
    return not state.changing and state.groups.get(group) == fingerprint(root, group)
