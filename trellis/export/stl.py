"""STL files for 3D printing: closed, in millimetres, standing on the printer's bed."""

import logging
import math
from pathlib import Path

import numpy as np

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.export.holes import HoleLimits, fill_holes
from trellis.export.manifold import split_touching
from trellis.export.options import STL_SIZE, STL_SIZES
from trellis.export.surface import Floats, Surface
from trellis.ops.half_edges import EdgeTable, face_vectors
from trellis.representations import Mesh

logger = logging.getLogger(__name__)

HEADER_BYTES = 80
TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def write_stl(mesh: Mesh, path: str | Path, *, longest_side: float = STL_SIZE) -> Path:
    """Write `mesh` as a binary STL whose box is `longest_side` millimetres long at most, and return its path."""
    return write_bytes(path, stl_bytes(mesh, longest_side=longest_side))


def stl_bytes(mesh: Mesh, *, longest_side: float = STL_SIZE) -> bytes:
    """The binary STL file of `mesh`: z-up, on the plane z = 0, centred in x and y, holes of any size closed.

    Raises InvalidInputError for an empty or flat mesh and a size outside STL_SIZES.
    """
    low, high = STL_SIZES
    if not low <= longest_side <= high:
        raise InvalidInputError(f"The longest side must be {low:g} to {high:g} mm, not {longest_side}.")
    mesh = closed(mesh)
    if not len(mesh.faces):
        raise InvalidInputError("An empty mesh cannot be written as STL.")
    if not is_closed(mesh):
        logger.warning("The STL is not closed everywhere.")
    surface = Surface.from_mesh(mesh)
    corners = in_millimetres(surface, longest_side)[surface.faces]
    normals = face_vectors(corners)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), dtype=TRIANGLE)
    triangles["normal"] = np.where(length > 0, normals / np.where(length > 0, length, 1), 0)
    triangles["corners"] = corners
    # A header that began with "solid" would be taken for the text form of the format.
    header = b"binary STL, millimetres".ljust(HEADER_BYTES)
    return header + np.uint32(len(triangles)).astype("<u4").tobytes() + triangles.tobytes()


def closed(mesh: Mesh) -> Mesh:
    """The mesh with every hole filled; what cannot be closed is left as it is (see `is_closed`)."""
    if not len(mesh.faces) or is_closed(mesh):
        return mesh
    return split_touching(fill_holes(mesh, limits=HoleLimits(edges=3 * len(mesh.faces), perimeter=math.inf)))


def is_closed(mesh: Mesh) -> bool:
    """Whether every edge has exactly two faces."""
    return EdgeTable.build(mesh.faces, len(mesh.vertices)).watertight


def in_millimetres(surface: Surface, longest_side: float) -> Floats:
    """The vertices [V, 3] scaled to the size asked for, on the plane z = 0 and centred in x and y."""
    used = surface.vertices[np.unique(surface.faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    extent = float((high - low).max())
    if extent <= 0:
        raise InvalidInputError("A mesh without extent has no size in millimetres.")
    origin = np.array([*((low + high) / 2)[:2], low[2]])
    return (surface.vertices - origin) * (longest_side / extent)
