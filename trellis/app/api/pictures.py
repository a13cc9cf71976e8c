"""Pictures that clients send, read one after the other by the engine's reader."""

import asyncio
from collections.abc import Sequence

from trellis.app.api.errors import ApiError, FieldError
from trellis.app.picture_reader import LONGEST, Content, PictureReader, ReadPicture
from trellis.errors import InvalidInputError

MOST_SECONDS = 60.0  # of reading, for all pictures of a request: the next client waits
LONGEST_WAIT = 60.0  # seconds in which the reading of a picture begins, which others' cut-outs may hold up
POLL_SECONDS = 0.01


async def read_pictures(
    reader: PictureReader, fields: Sequence[tuple[str, Content]], *, max_pixels: int, longest: int = LONGEST
) -> list[ReadPicture]:
    """The pictures of several (name of the field, content), in order, no side over `longest`; raises FieldError naming
    the field, ApiError 503 where the reader has too much to do.
    """
    pictures: list[ReadPicture] = []
    left, now = MOST_SECONDS, asyncio.get_running_loop().time
    for field, content in fields:
        future, begun = reader.read(content, max_pixels=max_pixels, longest=longest), False
        try:
            async with asyncio.timeout(LONGEST_WAIT) as limit:
                while not (begun := future.running() or future.done()):
                    await asyncio.sleep(POLL_SECONDS)
                end = now() + left
                limit.reschedule(end)
                pictures.append(await asyncio.wrap_future(future))
                left = end - now()
        except InvalidInputError as error:
            raise FieldError(field, f"{field} {str(error).removeprefix('The picture ')}") from error
        except TimeoutError as error:
            if not begun:
                raise ApiError(503, "The server has too many pictures to read; try again later.") from error
            raise FieldError(
                field, f"{field} is too much: the pictures of this request take too long to read."
            ) from error
        finally:
            future.cancel()  # nobody waits for it
    return pictures
