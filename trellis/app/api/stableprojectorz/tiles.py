"""Textures of a retextured mesh as the desktop client takes them: a picture for each UDIM tile, in ascending order."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trellis.app.picture_reader import PictureReader, ReadPicture

LONGEST = 4096  # pixels of a side
FILE_KIND = "base_color_"  # begins the kinds of the files of tiles, their numbers follow


@dataclass(frozen=True)
class PaintedTiles:
    """The client's own textures, and where they are to be painted over: the i-th of each is of the i-th tile."""

    albedo: Sequence[ReadPicture] = ()
    masks: Sequence[ReadPicture] = ()


NOT_PAINTED = PaintedTiles()


@dataclass
class TileTextures:
    """The textures of the last retextured mesh; those `laid` over the client's own stay for the next who asks."""

    files: tuple[Path, ...]
    painted: PaintedTiles
    laid: Sequence[ReadPicture] = ()

    @classmethod
    def of(cls, files: Mapping[str, Path], painted: PaintedTiles) -> "TileTextures":
        """Those of a job's files."""
        kinds = sorted(kind for kind in files if kind.startswith(FILE_KIND))
        return cls(tuple(files[kind] for kind in kinds), painted)

    async def paths(self, reader: PictureReader) -> list[Path]:
        """A picture for each tile: new where the alpha of its mask is over a half, else as the client had it.

        Without a mask all of it is new; where a mask leaves out what the client did not send, it is clear.
        """
        masks, albedo = self.painted.masks, self.painted.albedo
        if not self.laid:
            self.laid = [
                await asyncio.wrap_future(
                    reader.lay_over(new.absolute(), albedo[index].path if index < len(albedo) else None, mask.path)
                )
                for index, (new, mask) in enumerate(zip(self.files, masks, strict=False))
            ]
        return [*(picture.path for picture in self.laid), *self.files[len(self.laid) :]]
