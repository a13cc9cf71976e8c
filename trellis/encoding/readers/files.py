"""What a mesh file may pull in: limits of size, files beside it, and pictures."""

import base64
import binascii
import io
import math
import re
import struct
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from trellis.encoding.source_mesh import Texture
from trellis.errors import InvalidInputError

_MIB = 1 << 20
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")  # Pillow's reader of EPS, for one, starts a program
STRIP = 256  # rows of a picture that are turned to RGBA at a time
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # one letter is a drive
SHOWN = 3  # reasons in one note
# What Pillow raises for damaged files, by format.
DAMAGED_PICTURE = (
    UnidentifiedImageError, OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError, TypeError, OverflowError,
    struct.error,
)  # fmt: skip


class MissingFileError(InvalidInputError):
    """A file that the mesh file names is not there, or lies where nothing is opened."""


@dataclass(frozen=True)
class LoadLimits:
    """What a mesh file may cost; everything is checked before memory is taken for it.

    file_bytes: of the file and those that it names together; faces; vertices; texture_pixels: of all pictures together;
    parts: materials, and times that a mesh is placed in the scene. Reading takes less than 40 bytes for each of a text
    file, 300 a vertex or face, 2,000 a part and 16 a pixel (tests/unit/encoding/test_hostile.py measures it).
    """

    file_bytes: int = 1024 * _MIB
    faces: int = 10_000_000
    vertices: int = 30_000_000
    texture_pixels: int = 256 * _MIB
    parts: int = 100_000

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 1:
                raise InvalidInputError(f"The limit {item.name} must be at least 1, not {getattr(self, item.name)}.")

    def check(self, name: str, value: int) -> None:
        """Raise InvalidInputError when `value` is over the limit `name`."""
        limit = getattr(self, name)
        if value > limit:
            raise InvalidInputError(
                f"The mesh has {value:,} {name}, more than the limit of {limit:,}: reduce it first."
            )


class SourceFiles:
    """The file that is read, and those beside it that it names; nothing outside of its folder is ever opened.

    missing: how many pictures and material files were asked for and could not be had.
    """

    def __init__(self, path: Path, limits: LoadLimits) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.limits = limits
        self.missing = 0
        self._reasons: list[str] = []
        self._bytes_left, self._pixels_left = limits.file_bytes, limits.texture_pixels

    def read(self) -> bytes:
        """The mesh file itself."""
        return self._read(self.path, str(self.path), "give a mesh file")

    def referenced(self, uri: str) -> bytes:
        """What a `data:` URI holds, or the bytes of a file in this file's folder.

        Raises MissingFileError for a file that is not there, an address on the network, an absolute path and a path
        that leads out of the folder (also by a link); InvalidInputError for one that is too large or damaged.
        """
        if not uri.startswith("data:"):
            return self._read(self._inside(uri), uri[:120], "put it beside the mesh")
        head, _, body = uri.partition(",")
        if not head.endswith(";base64"):
            raise InvalidInputError(f"{self.path.name}: an inline file must be base64.")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInputError(f"{self.path.name}: an inline file is damaged: {error}.") from error

    def optional(self, uri: str) -> bytes | None:
        """As `referenced`, for what only adds colours: None, counted in `missing`, where the file cannot be had."""
        try:
            return self.referenced(uri)
        except MissingFileError as error:
            self.missing += 1
            if len(self._reasons) < SHOWN and str(error) not in self._reasons:
                self._reasons.append(str(error))
            return None

    def notes(self) -> list[str]:
        """A sentence on what is missing, if anything is."""
        if not self.missing:
            return []
        return [f"{self.missing:,} pictures or material files are left out. {' '.join(self._reasons)}"]

    def picture(self, data: bytes | memoryview, name: str) -> Texture:
        """A PNG, JPEG, WebP, BMP, TGA or TIFF picture as RGBA. Raises InvalidInputError naming the picture."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
                with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
                    self._pixels_left -= math.prod(image.size)
                    if self._pixels_left < 0:
                        raise self._too_many_pixels()
                    return Texture(torch.from_numpy(_rgba(image)))
        except Image.DecompressionBombError as error:
            raise self._too_many_pixels() from error
        except InvalidInputError:
            raise
        except DAMAGED_PICTURE as error:
            raise InvalidInputError(f"{self.path.name}: the picture {name} cannot be read: {error}.") from error

    def _too_many_pixels(self) -> InvalidInputError:
        limit = self.limits.texture_pixels
        return InvalidInputError(
            f"{self.path.name}: its pictures have more than {limit:,} pixels together: make them smaller first."
        )

    def _read(self, path: Path, name: str, advice: str) -> bytes:
        try:
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                raise MissingFileError(f"{name} {what}: {advice}.")
            self._bytes_left -= path.stat().st_size
            if self._bytes_left < 0:
                raise InvalidInputError(
                    f"{self.path.name} and the files that it names have more than the limit of "
                    f"{self.limits.file_bytes / _MIB:.0f} MiB: simplify the mesh or make its pictures smaller."
                )
            return path.read_bytes()
        except OSError as error:
            raise MissingFileError(f"{name} cannot be read: {error.strerror or error}.") from error

    def _inside(self, uri: str) -> Path:
        relative = unquote(uri).replace("\\", "/")
        if "\0" in relative:
            why = "which is no usable address"
        elif relative.startswith("//") or _SCHEME.match(relative):
            why = "but nothing is fetched: save the file with everything embedded"
        elif relative.startswith("/") or relative[1:2] == ":":
            why = "an absolute path: put the file beside the mesh"
        else:
            try:
                found = (self.folder / relative).resolve()
            except (OSError, RuntimeError) as error:
                raise MissingFileError(f"{uri[:120]!r} cannot be followed.") from error
            if found.is_relative_to(self.folder):
                return found
            why = "which leads out of its folder: put the file beside the mesh"
        raise MissingFileError(f"{self.path.name} names {uri[:120]!r}, {why}.")


def _rgba(image: Image.Image) -> np.ndarray:
    """Pixels [H, W, 4] uint8; turned strip by strip, as a second whole copy would be the largest cost."""
    width, height = image.size
    pixels = np.empty((height, width, 4), np.uint8)
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)).convert("RGBA"))
    return pixels
