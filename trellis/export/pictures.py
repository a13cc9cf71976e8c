"""Textures as picture files: PNG, and WebP where a file several times smaller is wished for."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trellis.errors import InvalidInputError

PICTURE_FORMATS = ("png", "webp")
WEBP_QUALITY = 90


def check_picture_format(name: str) -> None:
    """Raise InvalidInputError unless `name` is one of PICTURE_FORMATS."""
    if name not in PICTURE_FORMATS:
        raise InvalidInputError(f"Unknown texture format {name!r}; choose one of {', '.join(PICTURE_FORMATS)}.")


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """`picture` [H, W, 3] uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def webp_bytes(picture: NDArray[np.uint8], *, lossless: bool = False) -> bytes:
    """`picture` [H, W, 3] uint8 as a WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", quality=WEBP_QUALITY, lossless=lossless, method=4)
    return buffer.getvalue()
