"""Mesh files that clients send: kept in a folder of their own, until nobody holds them any more."""

import base64
import binascii
import shutil
import uuid
import weakref
from pathlib import Path

from trellis.app.picture_reader import Content
from trellis.app.storage import storing
from trellis.encoding.options import MESH_FORMATS
from trellis.errors import InvalidInputError

MAX_MESH_BYTES = 256 << 20
PIECE = 1 << 20


class ReadMesh:
    """A mesh file that was kept: `path`, which is deleted when nobody holds this object any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        weakref.finalize(self, shutil.rmtree, path.parent, ignore_errors=True)


def mesh_ending(name: str) -> str:
    """The ending of a mesh file's name; raises InvalidInputError for one that is not read."""
    ending = Path(name).suffix.lower()
    if ending not in MESH_FORMATS:
        raise InvalidInputError(
            f"mesh_name must end in one of {', '.join(MESH_FORMATS)}, not {name[-80:]!r}.", field="mesh_name"
        )
    return ending


def keep_mesh(content: Content, name: str, folder: Path) -> ReadMesh:
    """Keep a mesh that is base64 text or an open file, under a name of ours that ends as `name` does.

    Raises InvalidInputError, naming the field, for no text of base64, an ending that is not read or a file of more than
    MAX_MESH_BYTES; StorageError.
    """
    place = folder / uuid.uuid4().hex / f"mesh{mesh_ending(name)}"
    with storing(folder):
        place.parent.mkdir(parents=True)
        kept = ReadMesh(place)
        with place.open("wb") as target:
            if isinstance(content, str):
                target.write(_decoded(content))
            else:
                content.seek(0)
                shutil.copyfileobj(content, target, PIECE)
    size = place.stat().st_size
    if not 0 < size <= MAX_MESH_BYTES:
        what = f"has {size / 2**20:.0f} MB, more than {MAX_MESH_BYTES >> 20}: simplify it" if size else "is empty"
        raise InvalidInputError(f"mesh {what}.", field="mesh")
    return kept


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"mesh is no base64: {error}.", field="mesh") from error
