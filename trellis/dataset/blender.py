"""Blender, in a process and an environment of its own, as the renderer of training pictures."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trellis.dataset.cameras import frames
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.geometry.cameras import Cameras

SCRIPT = Path(__file__).parents[2] / "extensions" / "blender" / "views.py"
SAMPLES = 128  # rays a pixel, as published


@dataclass(frozen=True)
class Blender:
    """A program that runs the script: Blender itself, or a Python that has its module bpy."""

    program: str
    version: str

    @classmethod
    def find(cls, program: str) -> "Blender":
        """Ask a program for its version; raises MissingDependencyError where it does not answer."""
        try:
            said = _run(program).splitlines()
        except (OSError, subprocess.CalledProcessError) as error:
            raise MissingDependencyError(
                f"{program} is neither Blender nor a Python with its module bpy ({_reason(error)}): name the program "
                "itself, or install bpy with `pip install bpy` in an environment of its own and name that Python."
            ) from error
        return cls(program, next((line for line in said if line.startswith("Blender ")), "Blender"))

    def draw(self, mesh: Path, cameras: Cameras, *, size: int, side: float, samples: int = SAMPLES) -> Iterator[Tensor]:
        """Pictures uint8 [size, size, 4], straight RGBA, of a mesh file that is made `side` long in the unit cube.

        Raises InvalidInputError for a file that Blender cannot draw.
        """
        with TemporaryDirectory(prefix="trellis-") as place:
            job: dict[str, Any] = {"mesh": str(mesh.resolve()), "side": side, "size": size, "samples": samples}
            path = Path(place, "job.json")
            names = [f"{index:03d}.png" for index in range(len(cameras))]
            path.write_text(json.dumps(job | {"frames": frames(cameras, names), "output": place}), encoding="utf-8")
            try:
                _run(self.program, str(path))
            except subprocess.CalledProcessError as error:
                raise InvalidInputError(f"Blender cannot draw {mesh.name}: {_reason(error)}") from error
            for name in names:
                with Image.open(Path(place, name)) as picture:
                    yield torch.from_numpy(np.array(picture.convert("RGBA")))


def _run(program: str, *job: str) -> str:
    script = [str(SCRIPT), "--", *job]
    if not Path(program).name.lower().startswith("python"):
        script = ["--background", "--factory-startup", "--python-exit-code", "1", "--python", *script]
    return subprocess.run([program, *script], capture_output=True, text=True, check=True).stdout


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
    return said.splitlines()[-1] if said else f"it ended with {getattr(error, 'returncode', 'no word')}"
