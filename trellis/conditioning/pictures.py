"""Reading pictures: files of the usual formats, turned upright, in 8-bit RGB or RGBA, of a bearable size."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trellis.conditioning.framing import PreparedImage, frame_object
from trellis.conditioning.marks import Marks
from trellis.conditioning.matting import cut_out
from trellis.errors import InvalidInputError
from trellis.runtime import ModelFiles

MAX_SIDE = 1024  # larger pictures are reduced before anything else
MAX_PIXELS = 100_000_000  # 400 MB decoded
MIN_SIDE = 8
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "AVIF",
    "HEIF",
)  # readers of rarer ones start programs or are fragile
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")  # of the files of phones
BAND = 256  # rows of a deep picture that are converted at a time

PictureSource = str | Path | bytes | Image.Image

# What Pillow's readers raise for damaged files, next to their own errors.
_DAMAGE = (
    UnidentifiedImageError,
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


def load_picture(
    source: PictureSource, *, max_pixels: int = MAX_PIXELS, longest: int = MAX_SIDE
) -> tuple[Image.Image, tuple[str, ...]]:
    """Read a picture file, its bytes or a Pillow image as RGB or RGBA with both sides in 8..`longest`, and notes on it.

    The file is of one of FORMATS. The EXIF rotation is applied, colours of other modes (CMYK, 16-bit grey, palette) are
    converted, an animation gives its first frame. Raises InvalidInputError for anything that is not a usable picture,
    before it is decoded where it has more than `max_pixels` pixels.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own, stricter limit follows
            picture = _open(source)
            _check_size(picture, max_pixels)
            if getattr(picture, "is_animated", False) and picture.format != "MPO":  # some cameras' JPEG
                notes.append("The picture is an animation; its first frame is used.")
                picture.seek(0)
            if picture.format in ("JPEG", "MPO"):
                picture.draft("RGB", (longest, longest))  # decodes a large JPEG at a fraction of its size
            picture.load()
            picture = _to_8_bit(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError as error:  # Pillow's own limit, which stands before ours
        raise InvalidInputError(
            f"The picture is too large (more than {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels); "
            f"reduce it below {max_pixels / 1e6:.0f} megapixels (1024 x 1024 is enough)."
        ) from error
    except _DAMAGE as error:
        if isinstance(error, InvalidInputError):
            raise
        known = ", ".join(FORMATS)
        raise InvalidInputError(f"{_name(source)} cannot be read as a picture ({known}): {_reason(error)}.") from error
    return _reduce(picture, longest), tuple(notes)


def prepare_image(
    source: PictureSource,
    *,
    size: int = 518,
    background: str = "auto",
    runtime: ModelFiles | None = None,
    marks: Marks | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> PreparedImage:
    """Read, cut out and frame a picture for an encoder of `size` x `size` pixels.

    See `cut_out` for `background` and `marks`, `frame_object` for `window`.
    """
    picture, notes = load_picture(source)
    cutout, method, remark = cut_out(picture, background=background, runtime=runtime or ModelFiles(), marks=marks)
    pixels, box = frame_object(cutout, size, window=window)
    return PreparedImage(cutout, pixels, box, method, notes + ((remark,) if remark else ()))


def _name(source: PictureSource) -> str:
    return str(source) if isinstance(source, (str, Path)) else "The picture"


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):  # its text names an object in memory
        return "it is of no such format"
    return str(error).rstrip(".") or type(error).__name__


def _open(source: PictureSource) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    file: io.BytesIO | Path = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    if isinstance(file, Path) and not file.is_file():
        raise InvalidInputError(f"There is no picture file {file}.")
    _prepare_for_heic(source)
    readers = [name for name in FORMATS if name != "HEIF" or name in Image.OPEN]  # that one may not be loaded
    return Image.open(file, formats=readers)


def _prepare_for_heic(source: str | Path | bytes) -> None:
    """Have Pillow read HEIC where the picture is one: the library for it is loaded by nothing else."""
    if isinstance(source, bytes):
        begin = source[:12]
    else:
        with Path(source).open("rb") as file:
            begin = file.read(12)
    if begin[4:8] != b"ftyp" or begin[8:] not in HEIC_BRANDS:
        return
    try:
        from pi_heif import register_heif_opener
    except ImportError as error:
        message = f"{_name(source)} is a HEIC picture, which cannot be read here: save it as JPEG or PNG."
        raise InvalidInputError(message) from error
    register_heif_opener(thumbnails=False)


def check_frame(size: tuple[int, int], frame: tuple[int, int]) -> None:
    """Raise InvalidInputError unless a picture has the size (width, height) of the view that it was painted over."""
    if tuple(size) != tuple(frame):
        raise InvalidInputError(
            f"The edited picture has {size[0]} x {size[1]} pixels, its view {frame[0]} x {frame[1]}: save it at the "
            "size of the view, uncropped.",
            field="view",
        )


def _check_size(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        megapixels = width * height / 1e6
        raise InvalidInputError(
            f"The picture of {width} x {height} is too large ({megapixels:.0f} megapixels); "
            f"reduce it below {max_pixels / 1e6:.0f} megapixels (1024 x 1024 is enough)."
        )
    if max(width, height) > MAX_SIDE and min(width, height) * MAX_SIDE < MIN_SIDE * max(width, height):
        raise InvalidInputError(
            f"The picture of {width} x {height} is too long and thin; crop it so that its longer side is at most "
            f"{MAX_SIDE // MIN_SIDE} times the shorter one."
        )
    if min(width, height) < MIN_SIDE:
        raise InvalidInputError(
            f"The picture of {width} x {height} is too small; use at least {MIN_SIDE} x {MIN_SIDE}."
        )


def _to_8_bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        values, clear = np.asarray(picture), picture.info.get("transparency")
        # 16-bit files fill 0..65535; floating point pictures are taken as 0..1 unless they exceed it.
        top = 65535.0 if values.max() > 255 else (255.0 if values.max() > 1 else 1.0)
        if picture.mode == "I" and values.max() > top:  # 32 bits, of which not all need be used
            values = values.view(np.uint32)
            top = 2.0 ** int(values.max()).bit_length() - 1
        scaled = np.empty(values.shape, np.uint8)
        for begin in range(0, len(values), BAND):  # the whole of a large picture in float64 would take a gigabyte
            band = np.nan_to_num(values[begin : begin + BAND].astype(np.float64))
            scaled[begin : begin + BAND] = (band.clip(0, top) / top * 255).round()
        picture = Image.fromarray(scaled)
        if isinstance(clear, int):  # a grey that stands for nothing
            picture.putalpha(Image.fromarray(np.uint8(255) * (values != clear)))
    has_alpha = picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info
    mode = "RGBA" if has_alpha else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _reduce(picture: Image.Image, longest: int) -> Image.Image:
    if max(picture.size) <= longest:
        return picture
    scale = longest / max(picture.size)
    width, height = (max(1, int(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
