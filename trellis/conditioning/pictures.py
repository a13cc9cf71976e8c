"""Reading pictures: any file Pillow knows, turned upright, in 8-bit RGB or RGBA, of a bearable size."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trellis.conditioning.framing import PreparedImage, frame_object
from trellis.conditioning.matting import cut_out
from trellis.errors import InvalidInputError
from trellis.runtime import ModelFiles

MAX_SIDE = 1024  # larger pictures are reduced before anything else
MAX_PIXELS = 100_000_000  # 400 MB decoded
MIN_SIDE = 8

PictureSource = str | Path | bytes | Image.Image


def load_picture(source: PictureSource) -> tuple[Image.Image, tuple[str, ...]]:
    """Read a picture file, its bytes or a Pillow image as RGB or RGBA with both sides in 8..1024, and notes about it.

    The EXIF rotation is applied, colours of other modes (CMYK, 16-bit grey, palette) are converted, an animation gives
    its first frame. Raises InvalidInputError for anything that is not a usable picture.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own, stricter limit follows
            picture = _open(source)
            _check_size(picture)
            if getattr(picture, "is_animated", False):
                notes.append("The picture is an animation; its first frame is used.")
                picture.seek(0)
            if picture.format == "JPEG":
                picture.draft("RGB", (MAX_SIDE, MAX_SIDE))  # decodes a large JPEG at a fraction of its size
            picture.load()
            picture = _to_8_bit(ImageOps.exif_transpose(picture))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{_name(source)} cannot be read as a picture: {error}") from error
    return _reduce(picture), tuple(notes)


def prepare_image(
    source: PictureSource, *, size: int = 518, background: str = "auto", runtime: ModelFiles | None = None
) -> PreparedImage:
    """Read, cut out and frame a picture for an encoder of `size` x `size` pixels; see `cut_out` for `background`."""
    picture, notes = load_picture(source)
    cutout, method, remark = cut_out(picture, background=background, runtime=runtime or ModelFiles())
    pixels, box = frame_object(cutout, size)
    return PreparedImage(cutout, pixels, box, method, notes + ((remark,) if remark else ()))


def _name(source: PictureSource) -> str:
    return str(source) if isinstance(source, (str, Path)) else "The picture"


def _open(source: PictureSource) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    if isinstance(source, bytes):
        return Image.open(io.BytesIO(source))
    path = Path(source)
    if not path.is_file():
        raise InvalidInputError(f"There is no picture file {path}.")
    return Image.open(path)


def _check_size(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        megapixels = width * height / 1e6
        raise InvalidInputError(
            f"The picture of {width} x {height} is too large ({megapixels:.0f} megapixels); "
            f"reduce it below {MAX_PIXELS / 1e6:.0f} megapixels (1024 x 1024 is enough)."
        )
    if min(width, height) < MIN_SIDE:
        raise InvalidInputError(
            f"The picture of {width} x {height} is too small; use at least {MIN_SIDE} x {MIN_SIDE}."
        )


def _to_8_bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        # 16-bit files fill 0..65535; floating point pictures are taken as 0..1 unless they exceed it.
        top = 65535.0 if values.max() > 255 else (255.0 if values.max() > 1 else 1.0)
        picture = Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8))
    has_alpha = picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _reduce(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    if longest <= MAX_SIDE:
        return picture
    scale = MAX_SIDE / longest
    width, height = (max(1, int(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
