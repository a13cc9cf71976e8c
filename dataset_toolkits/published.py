"""What every script of this folder does: the step that is called like it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trellis.app.dataset_command import run_step


def run(script: str) -> None:
    """Run the step of a script with the arguments of this process, and end with its exit status."""
    sys.exit(run_step(Path(script).stem))
