"""What is cut out of the pictures before anything is generated: shown, kept, or done again in another way."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

from trellis.app.job_sources import MAX_PICTURES
from trellis.app.picture_reader import CutOutError, Drawn, PictureReader, ReadPicture
from trellis.app.storage import storing
from trellis.app.ui.fragments import message_panel
from trellis.app.ui.uploads import keep, uploaded_file
from trellis.conditioning.matting import GRABCUT_NOTE
from trellis.errors import InvalidInputError
from trellis.families.acquire import U2NET, U2NET_FILE, get_model
from trellis.runtime import ModelFiles, matting_model_path

KEPT = 256  # pictures; each is a file, and a small one in memory
UNSHOWN = (".heic", ".heif", ".tif", ".tiff")  # most browsers cannot show them
WAYS = {  # of `trellis.conditioning.matting.BACKGROUND_MODES`
    "auto": "Automatic",
    "rembg": "Network (u2net)",
    "grabcut": "Plain background",
    "alpha": "Own transparency",
    "whole": "Whole picture",
}
# In place of GRABCUT_NOTE, which speaks of a command.
GRABCUT_ADVICE = (
    "The background was removed by the built-in GrabCut, which suits plain backgrounds; for photographs choose another "
    "way under Background removal, draw a box around the object, or use a picture with a transparent background."
)
EDIT_NOTE = "Click a cut-out to draw a box around the object, brush or crop."


class PictureError(InvalidInputError):
    """The picture `index` of those that were to be cut out was read, and no object was found in it."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class CutoutTable:
    """What was last cut out of the uploaded pictures of all pages; asking twice for the same works once.

    What a person cut out by hand is an upload too, in place of the picture, and is used as it is.
    """

    def __init__(self, reader: PictureReader, files: ModelFiles) -> None:
        self._reader = reader
        self._files = files
        self._known: OrderedDict[tuple[str, str, Drawn | None], ReadPicture] = OrderedDict()  # the oldest first
        self._by_hand: OrderedDict[str, tuple[Path, str, Drawn]] = OrderedDict()  # picture, way and marks, by upload

    async def cut_out(self, paths: Sequence[str], way: str) -> list[ReadPicture]:
        """The cut-outs of uploaded files; raises InvalidInputError, which names the file and not its folder."""
        if len(paths) > MAX_PICTURES:
            raise InvalidInputError(f"At most {MAX_PICTURES} pictures are taken at once.")
        uploads = [uploaded_file(path, self._reader.folder) for path in paths]
        if must_fetch(way) and not self._files.offline:
            await asyncio.to_thread(get_model, U2NET, runtime=self._files)
        cutouts = []
        for index, path in enumerate(uploads):
            try:
                cutouts.append(await self._cut_out(path, "whole" if str(path) in self._by_hand else way))
            except CutOutError as error:
                raise PictureError(str(error), index) from error
        return cutouts

    async def opened(self, named: str) -> tuple[ReadPicture, tuple[str, Drawn] | None]:
        """The picture behind an upload as pages can show it, and the way and marks by which it was cut out by hand."""
        path = uploaded_file(named, self._reader.folder)
        made = self._by_hand.get(str(path))
        origin = path if made is None else made[0]
        key = (str(origin), "", None)
        if key not in self._known:
            with naming(origin), origin.open("rb") as file:
                self._remember(key, await asyncio.wrap_future(self._reader.read(file)))
        return self._known[key], None if made is None else made[1:]

    async def draw(self, named: str, way: str, drawn: Drawn) -> ReadPicture:
        """What is cut out of the picture behind an upload with a person's help."""
        path = uploaded_file(named, self._reader.folder)
        return await self._cut_out(self._by_hand.get(str(path), (path,))[0], way, drawn)

    async def replace(self, named: str, way: str, drawn: Drawn) -> str:
        """Make an upload of what `draw` gives; the path of that."""
        cutout = await self.draw(named, way, drawn)
        path = uploaded_file(named, self._reader.folder)
        origin = self._by_hand.get(str(path), (path,))[0]
        made = await self._upload(cutout, origin)
        self._by_hand[made] = (origin, way, drawn)
        while len(self._by_hand) > KEPT:
            self._by_hand.popitem(last=False)
        return made

    async def shown(self, paths: Sequence[str]) -> list[str]:
        """The uploads, those that browsers cannot show as PNG; raises InvalidInputError for what is no picture."""
        uploads = [uploaded_file(path, self._reader.folder) for path in paths[:MAX_PICTURES]]
        return [
            await self._upload((await self.opened(str(path)))[0], path) if path.suffix.lower() in UNSHOWN else str(path)
            for path in uploads
        ]

    async def _upload(self, picture: ReadPicture, origin: Path) -> str:
        with storing(self._reader.folder), picture.path.open("rb") as file:
            return str(await asyncio.to_thread(keep, self._reader.folder, file, f"{origin.stem}.png"))

    async def _cut_out(self, path: Path, way: str, drawn: Drawn | None = None) -> ReadPicture:
        key = (str(path), way, drawn)
        cutout = self._known.get(key)
        if cutout is None:
            with naming(path):
                cutout = await asyncio.wrap_future(self._reader.cut_out(path, way, drawn=drawn))
            self._remember(key, cutout)
        return cutout

    def _remember(self, key: tuple[str, str, Drawn | None], picture: ReadPicture) -> None:
        self._known[key] = picture
        while len(self._known) > KEPT:
            self._known.popitem(last=False)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors within name the file, and not its folder."""
    try:
        yield
    except InvalidInputError as error:
        message = str(error).replace(str(path), path.name)
        raise type(error)(message if path.name in message else f"{path.name}: {message}") from error


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
    """The cut-outs as the networks will see them; a click opens one in the editor."""
    pictures = "".join(
        f'<button type="button" data-cutout="{index}" title="Edit the cut-out">'
        f'<img src="{cutout.thumbnail}" alt="Cut-out {index + 1}"></button>'
        for index, cutout in enumerate(cutouts)
    )
    said = [GRABCUT_ADVICE if note == GRABCUT_NOTE else note for cutout in cutouts for note in cutout.notes]
    remarks = dict.fromkeys([*said, EDIT_NOTE])
    notes = "".join(f"<p>{escape(note)}</p>" for note in remarks)
    return f'<div class="cutouts" data-state="ready"><div class="cutout-row">{pictures}</div>{notes}</div>'


def refusal_panel(message: str, index: int, files: ModelFiles) -> str:
    """Why nothing was cut out of the picture `index`, and what a person can do about it, as buttons."""
    ways = {
        'data-tool="box"': "Draw a box around the object",
        'data-tool="add"': "Brush over the object",
        'data-tool="whole"': "Use the whole picture",
    }
    buttons = "".join(
        f'<button type="button" data-cutout="{index}" {way}>{label}</button>' for way, label in ways.items()
    )
    if must_fetch("rembg") and not files.offline:
        label = f"Fetch the network u2net ({U2NET_FILE.size / 1e9:.1f} GB)"
        buttons += f'<button type="button" data-way="rembg">{label}</button>'
    said = message_panel(message)
    return f'<div class="cutouts" data-state="failed">{said}<div class="cutout-ways">{buttons}</div></div>'
