"""Pictures that clients send: base64 or bytes, of formats that pictures come in, bounded before they are decoded."""

import base64
import binascii
import io
import re
import string
import struct
import warnings
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

from trellis.app.api.errors import FieldError
from trellis.conditioning import load_picture
from trellis.errors import InvalidInputError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")  # readers of rarer ones start programs or are fragile
PIECE = 4 * 2**18  # base64 is decoded in pieces, so that other threads get their turn

_DATA_ADDRESS = re.compile(r"data:[^,]{0,200};base64,")
# What Pillow's readers raise for damaged files, next to their own errors.
_DAMAGE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
)


def decode_base64(field: str, text: str) -> bytes:
    """The bytes of a base64 text, with or without a data address before it, line breaks and padding.

    Raises FieldError naming the field.
    """
    prefix = _DATA_ADDRESS.match(text)
    plain = text[prefix.end() :] if prefix else text
    if any(space in plain for space in string.whitespace):
        plain = "".join(plain.split())
    plain = plain.rstrip("=")
    if len(plain) % 4 == 1:
        raise FieldError(field, f"{field} is not base64: its length cannot be right.")
    plain += "=" * (-len(plain) % 4)
    try:
        pieces = [
            base64.b64decode(plain[begin : begin + PIECE].encode("ascii"), validate=True)
            for begin in range(0, len(plain), PIECE)
        ]
    except (binascii.Error, UnicodeEncodeError) as error:
        raise FieldError(field, f"{field} is not base64: {type(error).__name__}.") from error
    return b"".join(pieces)


def read_picture(field: str, data: bytes, *, max_pixels: int) -> Image.Image:
    """The picture in `data` as RGB or RGBA with both sides at most 1024; raises FieldError naming the field."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
        if width * height > max_pixels:
            raise FieldError(
                field,
                f"{field} of {width} x {height} is too large ({width * height / 1e6:.0f} megapixels); at most "
                f"{max_pixels / 1e6:.0f} are read, and 1024 x 1024 is enough.",
            )
        return load_picture(data)[0]
    except FieldError:
        raise
    except InvalidInputError as error:
        raise FieldError(field, f"{field}: {error}") from error
    except _DAMAGE as error:
        known = ", ".join(FORMATS)
        raise FieldError(field, f"{field} cannot be read as a picture ({known}): {type(error).__name__}.") from error


def read_pictures(fields: Sequence[tuple[str, bytes]], *, max_pixels: int) -> list[Image.Image]:
    """The pictures of several (name, content) pairs, in order."""
    return [read_picture(field, data, max_pixels=max_pixels) for field, data in fields]
