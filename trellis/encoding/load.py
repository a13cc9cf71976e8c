"""A mesh file of any supported format to one `SourceMesh`."""

import logging
from collections.abc import Callable
from pathlib import Path

from trellis.encoding.options import MESH_FORMATS, UP_CHOICES
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf import read_gltf
from trellis.encoding.readers.obj import read_obj
from trellis.encoding.readers.ply import read_ply
from trellis.encoding.readers.stl import read_stl
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

logger = logging.getLogger(__name__)


def load_mesh(path: str | Path, *, up: str = "auto", limits: LoadLimits | None = None) -> SourceMesh:
    """Read a GLB, glTF, OBJ, PLY or STL file into our world: z up, front towards -y, units as in the file.

    up: the axis that points upwards in an OBJ, PLY or STL file; `auto` takes y for OBJ and z for PLY and STL, as these
    are mostly written; a y-up file's front is +z. glTF says so itself: y up, front +z. Scenes are flattened, animated
    ones stand at rest. Colours come from textures, base colours and vertex colours.
    Pictures and other files are read from the folder of `path` alone, never from a network. Where one is missing or
    lies elsewhere, its material keeps its plain colour; this, and faces with fewer than three corners, are counted in
    the `notes` of the mesh.
    Raises InvalidInputError for a file that is missing, of another format, too large, damaged or without a surface.
    """
    if up not in UP_CHOICES:
        raise InvalidInputError(f"Unknown up axis {up!r}; choose one of {', '.join(UP_CHOICES)}.")
    path = Path(path)
    files = SourceFiles(path, limits or LoadLimits())
    mesh = _reader(path.suffix.lower(), up)(files)
    logger.info(
        "%s: %d faces, %d vertices, %d materials, %d textures",
        path.name, len(mesh.faces), len(mesh.vertices), len(mesh.materials), len(mesh.textures),
    )  # fmt: skip
    for note in mesh.notes:
        logger.warning("%s: %s", path.name, note)
    return mesh


def _reader(suffix: str, up: str) -> Callable[[SourceFiles], SourceMesh]:
    if suffix not in MESH_FORMATS:
        what = f"files ending in {suffix}" if suffix else "files without an ending"
        raise InvalidInputError(f"Meshes are not read from {what}; choose one of {', '.join(MESH_FORMATS)}.")
    if suffix in (".glb", ".gltf"):
        return read_gltf
    reader, default = {".obj": (read_obj, "y"), ".ply": (read_ply, "z"), ".stl": (read_stl, "z")}[suffix]
    return lambda files: reader(files, up=default if up == "auto" else up)
