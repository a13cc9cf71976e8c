"""Child program that reads the mesh file of a client, to say whether it can be used; see `trellis.app.mesh_reader`."""

import json
import sys
from pathlib import Path

from trellis.encoding.load import load_mesh
from trellis.encoding.normals import face_normals
from trellis.encoding.options import LARGEST_FILE
from trellis.encoding.readers.files import LoadLimits
from trellis.errors import InvalidInputError

# 300 bytes a face or vertex and 16 a pixel: 6 GB at most (`LoadLimits`).
LIMITS = LoadLimits(file_bytes=LARGEST_FILE, faces=5_000_000, vertices=10_000_000, texture_pixels=128 << 20)


def problem_of(path: Path, up: str) -> str | None:
    """What is wrong with a file, in a sentence."""
    try:
        _, areas = face_normals(load_mesh(path, up=up, limits=LIMITS))
    except InvalidInputError as problem:
        return str(problem)
    return None if (areas > 0).any() else "The mesh has no area, so it bounds nothing."


def main(path: str, up: str) -> None:
    """Write what is wrong with a file, a line of JSON, to standard output: {"error": sentence or null}."""
    sys.stdout.write(json.dumps({"error": problem_of(Path(path), up)}) + "\n")
