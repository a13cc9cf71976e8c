"""STL files, binary and ASCII, with the colours that some programs put into the binary form."""

import io
import re

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.parts import MeshPart, assemble
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

HEADER, RECORD = 84, 50  # bytes of the binary form: 80 of text and the number of faces; one face
_SOLID = re.compile(rb"^[ \t]*(?:end)?solid[^\n]*", re.MULTILINE | re.IGNORECASE)
_VERTEX = re.compile(rb"^[ \t]*vertex\b", re.MULTILINE | re.IGNORECASE)


def read_stl(files: SourceFiles, *, up: str = "z") -> SourceMesh:
    """Read an STL file. Raises InvalidInputError for a file that is damaged or empty."""
    from trimesh.exchange.stl import load_stl  # at the call: it takes over a second to import

    data, name = files.read(), files.path.name
    count = int.from_bytes(data[80:HEADER], "little") if len(data) >= HEADER else 0
    # Binary files may begin with "solid" too: the length decides.
    if len(data) != HEADER + count * RECORD:
        if not data[:512].lstrip().lower().startswith(b"solid"):
            raise InvalidInputError(
                f"{name} is not a usable STL file: {len(data):,} bytes do not hold the {count:,} faces that it states."
            )
        # The library takes words in names for keywords, and a time that grows with the square of the solids: one it is.
        data = b"solid\n" + _SOLID.sub(b"", data.replace(b"\r", b"\n")) + b"\nendsolid"
        count = data.lower().count(b"endfacet")
        if sum(1 for _ in _VERTEX.finditer(data)) != 3 * count:
            raise InvalidInputError(f"{name} is not a usable STL file: a facet without three corners.")
    files.limits.check("faces", count)
    try:
        mesh = load_stl(io.BytesIO(data)) if count else {}
    except ValueError as error:
        raise InvalidInputError(f"{name} is not a usable STL file: {error}.") from error
    if len(mesh.get("faces", ())) != count:
        raise InvalidInputError(f"{name} is not a usable STL file: a facet without three corners.")
    attributes = mesh.get("face_attributes", {}).get("stl")
    colors = None if attributes is None else _face_colors(attributes)
    parts = [MeshPart(mesh["vertices"], mesh["faces"], colors=colors)] if count else []
    return assemble(parts, files, up=up, srgb=True)


def _face_colors(attributes: NDArray[np.uint16]) -> NDArray[np.float32] | None:
    """Colours [3 F, 3] of the 5-bit form in which bit 15 says that blue, green, red (from bit 0) are meant."""
    valid = attributes & 0x8000 != 0
    if not valid.any():
        return None
    channels = np.stack([attributes >> 10 & 31, attributes >> 5 & 31, attributes & 31], 1) / 31
    return np.repeat(np.where(valid[:, None], channels, 1.0).astype(np.float32), 3, 0)
