"""What a mesh file may pull in: limits of size, files beside it, and pictures."""

import base64
import binascii
import io
import math
import struct
import warnings
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from trellis.encoding.source_mesh import Texture
from trellis.errors import InvalidInputError

_MIB = 1 << 20
# What Pillow raises for damaged files, by format.
DAMAGED_PICTURE = (
    Image.DecompressionBombError, UnidentifiedImageError, OSError, EOFError, SyntaxError, ValueError, IndexError,
    KeyError, TypeError, OverflowError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class LoadLimits:
    """What a mesh file may cost; everything is checked before memory is taken for it.

    file_bytes: of the file and of each file it names; faces; vertices; texture_pixels: of all pictures together.
    """

    file_bytes: int = 1024 * _MIB
    faces: int = 10_000_000
    vertices: int = 30_000_000
    texture_pixels: int = 256 * _MIB

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 1:
                raise InvalidInputError(f"The limit {item.name} must be at least 1, not {getattr(self, item.name)}.")

    def check(self, name: str, value: int) -> None:
        """Raise InvalidInputError when `value` is over the limit `name`."""
        limit = getattr(self, name)
        if value > limit:
            what = name.replace("_", " ")
            raise InvalidInputError(
                f"The mesh has {value:,} {what}, more than the limit of {limit:,}: reduce it first."
            )


class SourceFiles:
    """The file that is read, and those beside it that it names; nothing outside of its folder is ever opened."""

    def __init__(self, path: Path, limits: LoadLimits) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.limits = limits
        self._pixels_left = limits.texture_pixels

    def read(self) -> bytes:
        """The mesh file itself."""
        return self._read(self.path)

    def referenced(self, uri: str) -> bytes:
        """What a `data:` URI holds, or the bytes of a file in this file's folder.

        Raises InvalidInputError for an address on the network, an absolute path, a path that leads out of the folder
        (also by a link), or a file that is missing or too large.
        """
        if uri.startswith("data:"):
            return self._inline(uri)
        return self._read(self._inside(uri))

    def picture(self, data: bytes, name: str) -> Texture:
        """A PNG, JPEG, WebP, BMP, TGA or TIFF picture as RGBA. Raises InvalidInputError naming the picture."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
                with Image.open(io.BytesIO(data)) as image:
                    self._take_pixels(math.prod(image.size))
                    pixels = np.array(image.convert("RGBA"))
        except InvalidInputError:
            raise
        except DAMAGED_PICTURE as error:
            raise InvalidInputError(f"{self.path.name}: the picture {name} cannot be read: {error}.") from error
        return Texture(torch.from_numpy(pixels))

    def _take_pixels(self, count: int) -> None:
        self._pixels_left -= count
        if self._pixels_left < 0:
            limit = self.limits.texture_pixels
            raise InvalidInputError(
                f"{self.path.name}: its pictures have more than {limit:,} pixels together: make them smaller first."
            )

    def _read(self, path: Path) -> bytes:
        try:
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                raise InvalidInputError(f"{path} {what}: give a mesh file.")
            size = path.stat().st_size
            if size > self.limits.file_bytes:
                raise InvalidInputError(
                    f"{path.name} has {size / _MIB:.0f} MiB, more than the limit of "
                    f"{self.limits.file_bytes / _MIB:.0f} MiB: simplify it or make its pictures smaller."
                )
            return path.read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error

    def _inside(self, uri: str) -> Path:
        refusal = f"{self.path.name} names {uri[:120]!r}"
        try:
            scheme = urlsplit(uri).scheme
        except ValueError as error:
            raise InvalidInputError(f"{refusal}, which is no usable address.") from error
        relative = unquote(uri)
        if "\0" in relative:
            raise InvalidInputError(f"{refusal}, which is no usable address.")
        is_drive = len(scheme) == 1
        if (scheme and not is_drive) or relative.startswith(("//", "\\\\")):
            raise InvalidInputError(f"{refusal}: nothing is fetched. Save the file with everything embedded.")
        if is_drive or PurePosixPath(relative).is_absolute() or PureWindowsPath(relative).is_absolute():
            raise InvalidInputError(f"{refusal}, an absolute path: put the file beside the mesh.")
        try:
            found = (self.folder / relative.replace("\\", "/")).resolve()
        except (OSError, RuntimeError) as error:
            raise InvalidInputError(f"{refusal}, which cannot be followed: {error}.") from error
        if not found.is_relative_to(self.folder):
            raise InvalidInputError(f"{refusal}, which leads out of its folder: put the file beside the mesh.")
        return found

    def _inline(self, uri: str) -> bytes:
        head, separator, body = uri.partition(",")
        if not separator or not head.endswith(";base64"):
            raise InvalidInputError(f"{self.path.name}: an inline file must be base64.")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInputError(f"{self.path.name}: an inline file is damaged: {error}.") from error
