"""What is cut out of the pictures before anything is generated: shown, kept, or done again in another way."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from html import escape
from pathlib import Path

from trellis.app.job_sources import MAX_PICTURES
from trellis.app.picture_reader import PictureReader, ReadPicture
from trellis.app.ui.uploads import uploaded_file
from trellis.errors import InvalidInputError
from trellis.families.acquire import U2NET, U2NET_FILE, get_model
from trellis.runtime import ModelFiles, matting_model_path

KEPT = 256  # pictures; each is a file, and a small one in memory
WAYS = {  # of `trellis.conditioning.BACKGROUND_MODES`
    "auto": "Automatic",
    "rembg": "Network (u2net)",
    "grabcut": "Plain background",
    "alpha": "Own transparency",
}


class CutoutTable:
    """What was last cut out of the uploaded pictures of all pages; asking twice for the same works once."""

    def __init__(self, reader: PictureReader, files: ModelFiles) -> None:
        self._reader = reader
        self._files = files
        self._known: OrderedDict[tuple[str, str], ReadPicture] = OrderedDict()  # by path and way, the oldest first

    async def cut_out(self, paths: Sequence[str], way: str) -> list[ReadPicture]:
        """The cut-outs of uploaded files; raises InvalidInputError, which names the file and not its folder."""
        if len(paths) > MAX_PICTURES:
            raise InvalidInputError(f"At most {MAX_PICTURES} pictures are taken at once.")
        uploads = [uploaded_file(path, self._reader.folder) for path in paths]
        if must_fetch(way) and not self._files.offline:
            await asyncio.to_thread(get_model, U2NET, runtime=self._files)
        return [await self._cut_out(path, way) for path in uploads]

    async def _cut_out(self, path: Path, way: str) -> ReadPicture:
        key = (str(path), way)
        cutout = self._known.get(key)
        if cutout is None:
            try:
                cutout = await asyncio.wrap_future(self._reader.cut_out(path, way))
            except InvalidInputError as error:
                message = str(error).replace(str(path), path.name)
                raise InvalidInputError(message if path.name in message else f"{path.name}: {message}") from error
            self._known[key] = cutout
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return cutout


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


def cutouts_panel(cutouts: Sequence[ReadPicture]) -> str:
    """The cut-outs as the networks will see them."""
    pictures = "".join(
        f'<img src="{cutout.thumbnail}" alt="Cut-out {index + 1}">' for index, cutout in enumerate(cutouts)
    )
    remarks = dict.fromkeys(note for cutout in cutouts for note in cutout.notes)
    notes = "".join(f"<p>{escape(note)}</p>" for note in remarks)
    return f'<div class="cutouts" data-state="ready"><div class="cutout-row">{pictures}</div>{notes}</div>'
