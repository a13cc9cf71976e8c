"""Child program that reads the mesh file of a client, to say whether it can be used; see `trellis.app.mesh_reader`."""

import json
import sys
from pathlib import Path

import trimesh

from trellis.encoding.load import load_mesh
from trellis.encoding.normals import face_normals
from trellis.encoding.options import LARGEST_FILE
from trellis.encoding.readers.files import LoadLimits
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.geometry.axes import to_gltf_frame

# 300 bytes a face or vertex and 16 a pixel: 6 GB at most (`LoadLimits`).
LIMITS = LoadLimits(file_bytes=LARGEST_FILE, faces=5_000_000, vertices=10_000_000, texture_pixels=128 << 20)


def problem_of(path: Path, up: str, shape: Path | None = None) -> str | None:
    """What is wrong with a file, in a sentence; if nothing, its shape is written as the GLB file `shape`."""
    try:
        mesh = load_mesh(path, up=up, limits=LIMITS)
        _, areas = face_normals(mesh)
    except InvalidInputError as problem:
        return str(problem)
    if not (areas > 0).any():
        return "The mesh has no area, so it bounds nothing."
    if shape is not None:
        shape.write_bytes(_shape_glb(mesh))
    return None


def _shape_glb(mesh: SourceMesh) -> bytes:
    vertices = to_gltf_frame(mesh.vertices).numpy()
    shape = trimesh.Trimesh(vertices, mesh.faces.numpy(), process=False).export(file_type="glb")
    assert isinstance(shape, bytes)
    return shape


def main(path: str, up: str, *shape: str) -> None:
    """Write what is wrong with a file, a line of JSON, to standard output: {"error": sentence or null}."""
    sys.stdout.write(json.dumps({"error": problem_of(Path(path), up, *map(Path, shape))}) + "\n")
