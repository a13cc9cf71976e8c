"""Textures as picture files: PNG, and WebP where a file several times smaller is wished for."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WEBP_QUALITY = 90


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
