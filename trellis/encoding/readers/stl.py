"""STL files, binary and ASCII, with the colours that some programs put into the binary form."""

import re

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.assemble import MeshPart, assemble
from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

HEADER = 84  # bytes: 80 of text and the number of faces
_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VERTEX = re.compile(rb"\bvertex\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")")


def read_stl(files: SourceFiles, *, up: str = "z") -> SourceMesh:
    """Read an STL file. Raises InvalidInputError for a file that is damaged or empty."""
    data = files.read()
    count = int.from_bytes(data[80:84], "little") if len(data) >= HEADER else -1
    # Binary files may begin with "solid" too: the length decides.
    if count >= 0 and len(data) == HEADER + count * _RECORD.itemsize:
        files.limits.check("faces", count)
        records = np.frombuffer(data, _RECORD, offset=HEADER)
        corners, colors = records["corners"].reshape(-1, 3), _face_colors(records["attribute"])
    elif data[:512].lstrip().startswith(b"solid"):
        corners, colors = _ascii_corners(files, data), None
    else:
        raise InvalidInputError(
            f"{files.path.name} is not a usable STL file: {len(data):,} bytes do not hold the {max(count, 0):,} faces "
            "that it states."
        )
    faces = np.arange(len(corners)).reshape(-1, 3)
    part = MeshPart(
        vertices=corners, faces=faces, colors=None if colors is None else np.repeat(colors, 3, 0), up=up, srgb=True
    )
    return assemble([part], files)


def _ascii_corners(files: SourceFiles, data: bytes) -> NDArray[np.float32]:
    files.limits.check("faces", data.count(b"endfacet"))
    found = _VERTEX.findall(data)
    stated = data.count(b"vertex")
    if len(found) != stated or stated % 3 or stated // 3 != data.count(b"endfacet"):
        raise InvalidInputError(f"{files.path.name} is not a usable STL file: a facet without three corners.")
    return np.array(found, dtype=np.float64).astype(np.float32).reshape(-1, 3)


def _face_colors(attributes: NDArray[np.uint16]) -> NDArray[np.float32] | None:
    """Colours [F, 4] of the 5-bit form in which bit 15 says that blue, green, red (from bit 0) are meant."""
    valid = attributes & 0x8000 != 0
    if not valid.any():
        return None
    channels = np.stack([attributes >> 10 & 31, attributes >> 5 & 31, attributes & 31], 1) / 31
    colors = np.where(valid[:, None], channels, 1.0)
    return np.concatenate([colors, np.ones((len(colors), 1))], 1).astype(np.float32)
