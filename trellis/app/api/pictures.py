"""Pictures that clients send, read one after the other by the engine's reader."""

import asyncio
from collections.abc import Sequence

from trellis.app.api.errors import FieldError
from trellis.app.picture_reader import LONGEST, Content, PictureReader, ReadPicture
from trellis.errors import InvalidInputError

MOST_SECONDS = 60.0  # for all pictures of a request: the next client waits


async def read_pictures(
    reader: PictureReader, fields: Sequence[tuple[str, Content]], *, max_pixels: int, longest: int = LONGEST
) -> list[ReadPicture]:
    """The pictures of several (name of the field, content), in order, no side over `longest`; raises FieldError naming
    the field.
    """
    pictures: list[ReadPicture] = []
    try:
        async with asyncio.timeout(MOST_SECONDS):
            for _, content in fields:
                pictures.append(await asyncio.wrap_future(reader.read(content, max_pixels=max_pixels, longest=longest)))
    except InvalidInputError as error:
        field = fields[len(pictures)][0]
        raise FieldError(field, f"{field} {str(error).removeprefix('The picture ')}") from error
    except TimeoutError as error:
        field = fields[len(pictures)][0]
        raise FieldError(field, f"{field} is too much: the pictures of this request take too long to read.") from error
    return pictures
