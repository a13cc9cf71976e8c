"""Textures of a retextured mesh as the desktop client takes them: a picture for each UDIM tile, in ascending order."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trellis.app.picture_reader import ReadPicture

LONGEST = 4096  # pixels of a side
HALF = 128  # of a mask's alpha
FILE_KIND = "base_color_"  # begins the kinds of the files of tiles, their numbers follow


@dataclass(frozen=True)
class PaintedTiles:
    """The client's own textures, and where they are to be painted over: the i-th of each is of the i-th tile."""

    albedo: Sequence[ReadPicture] = ()
    masks: Sequence[ReadPicture] = ()


NOT_PAINTED = PaintedTiles()


@dataclass(frozen=True)
class TileTextures:
    """The textures of the last retextured mesh."""

    files: tuple[Path, ...]
    painted: PaintedTiles

    @classmethod
    def of(cls, files: Mapping[str, Path], painted: PaintedTiles) -> "TileTextures":
        """Those of a job's files."""
        kinds = sorted(kind for kind in files if kind.startswith(FILE_KIND))
        return cls(tuple(files[kind] for kind in kinds), painted)

    def as_texts(self) -> list[str]:
        """Base64 of PNG files."""
        return [base64.b64encode(self._png(index)).decode() for index in range(len(self.files))]

    def _png(self, index: int) -> bytes:
        """The picture of a tile: new where the alpha of its mask is over a half, else as the client had it.

        Without a mask all of it is new; where a mask leaves out what the client did not send, it is clear.
        """
        if index >= len(self.painted.masks):
            return self.files[index].read_bytes()
        new = Image.open(self.files[index]).convert("RGBA")
        mask = Image.open(self.painted.masks[index].path).convert("RGBA").getchannel("A")
        if index < len(self.painted.albedo):
            old = Image.open(self.painted.albedo[index].path).convert("RGBA")
        else:
            old = Image.new("RGBA", new.size)
        over = mask.point(lambda alpha: 255 if alpha >= HALF else 0).resize(old.size, Image.Resampling.NEAREST)
        target = io.BytesIO()
        Image.composite(new.resize(old.size, Image.Resampling.LANCZOS), old, over).save(target, "PNG")
        return target.getvalue()
