"""How long a picture takes from the command line to its files on two processor cores."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trellis.errors import InvalidInputError

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "example_image"
CORES = 2


def time_pictures(model: Path, *, count: int) -> dict[str, float]:
    """Seconds of GLB, PLY and video of the first `count` example pictures by name, each in a program of its own.

    The median of them is beside them. Raises InvalidInputError where the program fails.
    """
    seconds = {picture.stem: _time(model, picture) for picture in sorted(EXAMPLES.glob("*.png"))[:count]}
    return seconds | {"median": round(statistics.median(seconds.values()), 1)}


def _time(model: Path, picture: Path) -> float:
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "trellis", "generate", str(picture), "--model", str(model), "--device", "cpu",
            "--output", folder,
        ]  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
        )
        if done.returncode:
            raise InvalidInputError(f"{picture.name} could not be made: {done.stderr.strip()[-300:]}")
        return round(time.monotonic() - began, 1)
