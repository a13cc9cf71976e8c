"""MP4 video: frames streamed to ffmpeg, so that memory stays flat, and renamed into place when complete."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from trellis.atomic import written_aside
from trellis.errors import InvalidInputError, MissingDependencyError, TrellisError

BLOCK = 16
# Which matrix turned the colours is said: players guess by the size of the picture where it is not, and are up to 30 of
# 255 off then. It is BT.601's, whose numbers the usual software converters hold without clipping them.
COLORS = (
    "-vf",
    "scale=out_color_matrix=smpte170m:out_range=tv:flags=accurate_rnd+full_chroma_int,"
    "setparams=range=tv:colorspace=smpte170m:color_primaries=bt709:color_trc=iec61966-2-1",
)
ENCODING = ("-profile:v", "main", "-preset", "fast", "-movflags", "+faststart")


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: int = 30, quality: int = 18) -> Path:
    """Encode frames, uint8 [H, W, 3] of one size with H and W multiples of 16, as H.264 (main profile, yuv420p) MP4.

    Frames are taken from the iterable one at a time; when it raises (a cancelled job does) or encoding fails, nothing
    is left behind and an older file at `path` stays as it was. quality: ffmpeg's constant rate factor, 0 (lossless) to
    51. Returns `path`. Raises InvalidInputError for unusable frames, MissingDependencyError without imageio-ffmpeg,
    TrellisError when ffmpeg fails.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InvalidInputError(f"A video file must end in .mp4, not {path.name!r}.")
    if fps < 1 or not 0 <= quality <= 51:
        raise InvalidInputError(f"Video needs fps >= 1 and quality 0..51, not {fps} and {quality}.")
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InvalidInputError("A video needs at least one frame.")
    _check(first.shape, first.dtype, first.shape)
    with written_aside(path) as aside:
        _encode(aside, itertools.chain([first], iterator), shape=first.shape, fps=fps, quality=quality)
    return path


def _encode(path: Path, frames: Iterator[np.ndarray], *, shape: tuple[int, ...], fps: int, quality: int) -> None:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingDependencyError(
            "Video needs imageio-ffmpeg; install it with `pip install imageio-ffmpeg`."
        ) from error
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (shape[1], shape[0]),
        fps=fps,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=BLOCK,
        ffmpeg_log_level="error",
        # imageio-ffmpeg sets its own quality unless told; the constant rate factor replaces it.
        quality=None,
        output_params=[*COLORS, *ENCODING, "-crf", str(quality)],
    )
    try:
        writer.send(None)
        for frame in frames:
            _check(frame.shape, frame.dtype, shape)
            writer.send(np.ascontiguousarray(frame))
    except OSError as error:
        raise TrellisError(f"ffmpeg could not write the video: {error}") from error
    finally:
        writer.close()
    if not _is_complete(path):
        raise TrellisError("ffmpeg did not finish the video; the log has what it said.")


def _is_complete(path: Path) -> bool:
    """Whether the index of the video stands before its pictures, where ffmpeg moves it in the end.

    ffmpeg that ends early, on a full disk say, leaves a file that no player opens, and imageio-ffmpeg does not tell.
    """
    with path.open("rb") as file:
        return b"moov" in file.read(256)


def _check(shape: tuple[int, ...], dtype: np.dtype, expected: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise InvalidInputError(f"Video frames must be uint8 [H, W, 3], not {dtype} {list(shape)}.")
    if shape[0] % BLOCK or shape[1] % BLOCK:
        raise InvalidInputError(f"Video frames need sides that are multiples of {BLOCK}, not {shape[1]} x {shape[0]}.")
    if shape != expected:
        raise InvalidInputError(f"All frames of a video must have one size: {list(expected)}, then {list(shape)}.")
