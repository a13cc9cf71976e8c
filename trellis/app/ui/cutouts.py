"""What is cut out of the pictures before anything is generated: shown, kept, or done again in another way."""

import base64
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from trellis.conditioning import PreparedImage, prepare_image
from trellis.errors import InvalidInputError, TrellisError
from trellis.models.acquire import U2NET, U2NET_FILE, get_model
from trellis.runtime import ModelFiles, matting_model_path

THUMBNAIL = 192  # pixels
WAYS = {  # of `trellis.conditioning.BACKGROUND_MODES`
    "auto": "Automatic",
    "rembg": "Network (u2net)",
    "grabcut": "Plain background",
    "alpha": "Own transparency",
}


@dataclass(frozen=True)
class Cutouts:
    """The cut-outs of one choice of pictures and way: RGBA pictures, and remarks on them."""

    pictures: tuple[Image.Image, ...]
    notes: tuple[str, ...]
    thumbnails: tuple[str, ...]  # addresses that hold the picture itself


class CutoutTable:
    """The last cut-outs of every open page; asking twice for the same works once."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._last: dict[str, tuple[tuple[str, ...], Cutouts]] = {}
        self._lock = threading.Lock()  # one at a time: it takes a core

    def cut_out(self, session: str, paths: Sequence[str], way: str) -> Cutouts:
        """The cut-outs of picture files; raises InvalidInputError, which names the file and not its folder."""
        wanted = (way, *paths)
        with self._lock:
            known, cutouts = self._last.get(session, ((), None))
            if cutouts is None or known != wanted:
                cutouts = _cut_out_all(paths, way, self._files)
                self._last[session] = (wanted, cutouts)
            return cutouts

    def forget(self, session: str) -> None:
        """Drop the cut-outs of a page that was closed."""
        self._last.pop(session, None)


def offered_ways(files: ModelFiles) -> list[tuple[str, str]]:
    """Label and name of the ways; a label says what is fetched first. Offline, only those that need nothing."""
    ways = dict(WAYS)
    if must_fetch("rembg"):
        if files.offline:
            del ways["rembg"]
        else:
            ways["rembg"] += f" · {U2NET_FILE.size / 1e9:.1f} GB to fetch"
    return [(label, way) for way, label in ways.items()]


def must_fetch(way: str) -> bool:
    """The way's network is not here yet."""
    return way == "rembg" and not matting_model_path().is_file()


def cutouts_panel(cutouts: Cutouts) -> str:
    """The cut-outs as the networks will see them."""
    pictures = "".join(
        f'<img src="{source}" alt="Cut-out {index + 1}">' for index, source in enumerate(cutouts.thumbnails)
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in cutouts.notes)
    return f'<div class="cutouts" data-state="ready"><div class="cutout-row">{pictures}</div>{notes}</div>'


def _cut_out_all(paths: Sequence[str], way: str, files: ModelFiles) -> Cutouts:
    if must_fetch(way) and not files.offline:
        get_model(U2NET, runtime=files)
    prepared = []
    for path in paths:
        try:
            prepared.append(prepare_image(path, size=THUMBNAIL, background=way, runtime=files))
        except TrellisError as error:
            name = Path(path).name
            message = str(error).replace(path, name)
            raise InvalidInputError(message if name in message else f"{name}: {message}") from error
    notes = dict.fromkeys(note for picture in prepared for note in picture.notes)
    return Cutouts(
        tuple(picture.cutout.convert("RGBA") for picture in prepared),
        tuple(notes),
        tuple(_thumbnail(picture) for picture in prepared),
    )


def _thumbnail(picture: PreparedImage) -> str:
    framed = picture.cutout.convert("RGBA").crop(picture.box).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    framed.save(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
