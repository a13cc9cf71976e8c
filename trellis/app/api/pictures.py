"""Pictures that clients send, read one after the other by the engine's reader."""

import asyncio
from collections.abc import Sequence

from trellis.app.api.errors import FieldError
from trellis.app.picture_reader import Content, PictureReader, ReadPicture
from trellis.errors import InvalidInputError


async def read_pictures(
    reader: PictureReader, fields: Sequence[tuple[str, Content]], *, max_pixels: int
) -> list[ReadPicture]:
    """The pictures of several (name of the field, content), in order; raises FieldError naming the field."""
    pictures = []
    for field, content in fields:
        try:
            pictures.append(await asyncio.wrap_future(reader.read(content, max_pixels=max_pixels)))
        except InvalidInputError as error:
            raise FieldError(field, f"{field} {str(error).removeprefix('The picture ')}") from error
    return pictures
