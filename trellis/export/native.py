"""Runs uninterruptible native code in a child program that is killed when the job is cancelled."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trellis.errors import TrellisError
from trellis.progress import Progress

WORKER = Path(__file__).with_name("native_worker.py")
POLL_SECONDS = 0.05


class NativeCrashError(TrellisError):
    """The child program died: a fault of the native library on this input, such as a segmentation fault."""


def run_native(operation: str, arrays: dict[str, NDArray], *, progress: Progress) -> dict[str, NDArray]:
    """The arrays that `operation` of native_worker.py makes of `arrays`.

    A cancelled `progress` kills the child within a fraction of a second and raises Cancelled; a child that fails or
    dies raises NativeCrashError with the last line it said. Nothing of the child outlives the call.
    """
    progress.cancel.raise_if_cancelled()
    with tempfile.TemporaryDirectory(prefix=f"trellis-{os.getpid()}-") as folder:
        source, target, said = (Path(folder) / name for name in ("in.npz", "out.npz", "said.txt"))
        np.savez(source, allow_pickle=False, **arrays)
        # -P: the modules beside the worker are not for import by their bare names.
        command = [sys.executable, "-P", str(WORKER), operation, str(source), str(target)]
        with said.open("wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                _wait(child, progress)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
        if child.returncode != 0 or not target.exists():
            lines = said.read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "it said nothing"
            raise NativeCrashError(f"The program for {operation} ended with code {child.returncode}: {reason}")
        with np.load(target, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def _wait(child: subprocess.Popen, progress: Progress) -> None:
    while True:
        try:
            child.wait(timeout=POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            progress.cancel.raise_if_cancelled()
