"""What the page's clients send and what they name as theirs.

Nothing that a client names is opened before it is known to be an ordinary file of the upload folder.
"""

import hashlib
import re
import shutil
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import IO

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from trellis.app.job_sources import MAX_PICTURES
from trellis.app.picture_reader import HELD
from trellis.atomic import written_aside
from trellis.errors import InvalidInputError

UPLOAD_ROUTE = "/gradio_api/upload"  # Gradio's own takes what it is sent
PROGRESS_ROUTE = "/gradio_api/upload_progress"
FIELD = "files"
FRESH_SECONDS = 600.0
MOST_UPLOADS = 2 << 30  # bytes that the upload folder may hold
LONGEST_NAME = 100  # bytes
IN_MEMORY = 1 << 15  # longer files are on disk as they come
REFUSAL = "This picture is not here (any more): choose it again."


def uploaded_file(named: str, folder: Path) -> Path:
    """The path of an uploaded file that a client names; raises InvalidInputError for anything else.

    Names are compared before the file system is asked: a path outside may be a device, or on another computer.
    """
    path, root = Path(named), folder.absolute()
    own = named == str(path) and ".." not in path.parts and path.is_relative_to(root)
    try:
        own = own and path.resolve(strict=True).is_relative_to(root.resolve(strict=True))
        own = own and stat.S_ISREG(path.lstat().st_mode)
    except (OSError, RuntimeError, ValueError) as error:  # it is gone, links go in circles, a name no file can have
        raise InvalidInputError(REFUSAL) from error
    if not own:
        raise InvalidInputError(REFUSAL)
    return path


def make_room(folder: Path, most: int) -> bool:
    """Delete the oldest uploads where they take more than `most` bytes together; whether they take less now.

    What came within the last minutes stays: a page is about to use it. So does what somebody holds.
    """
    found = []
    for path in folder.rglob("*"):
        if path.is_relative_to(folder / HELD):
            continue
        try:
            status = path.lstat()
        except OSError:  # deleted meanwhile
            continue
        if stat.S_ISREG(status.st_mode):
            found.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for changed, size, path in sorted(found):
        if total <= most or changed > time.time() - FRESH_SECONDS:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total <= most


def add_upload_route(app: FastAPI, folder: Path, limit: int) -> None:
    """Take uploads of at most `limit` bytes into `folder`, and answer their paths, as Gradio's own route does."""

    @app.get(PROGRESS_ROUTE)
    async def progress() -> Response:
        """The page asks how far its upload is; Gradio keeps the name of every upload for that, this keeps nothing."""
        return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")

    @app.post(UPLOAD_ROUTE)
    async def upload(request: Request) -> list[str]:
        if not await run_in_threadpool(make_room, folder, MOST_UPLOADS):
            raise HTTPException(507, "The server has no room for uploads; try again later.")
        if "boundary=" not in request.headers.get("content-type", ""):
            raise HTTPException(400, "Send a form: multipart/form-data.")
        parser = MultiPartParser(
            request.headers, _limited(request.stream(), limit), max_files=MAX_PICTURES, max_fields=0, max_part_size=0
        )
        parser.spool_max_size = IN_MEMORY
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, LookupError, UnicodeError) as error:
            raise HTTPException(400, f"The upload cannot be read: {getattr(error, 'message', error)}") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "The upload ended before it was complete.") from error
        except OSError as error:
            raise HTTPException(507, f"The upload cannot be kept: {error.strerror}.") from error
        try:
            files = [value for value in form.getlist(FIELD) if isinstance(value, UploadFile)]
            return [str(await run_in_threadpool(keep, folder, file.file, file.filename or "")) for file in files]
        except OSError as error:
            raise HTTPException(507, f"The upload cannot be kept: {error.strerror}.") from error
        finally:
            await form.close()


def keep(folder: Path, content: IO[bytes], name: str) -> Path:
    """Put an upload into a folder of its own, named by its content."""
    hashed = hashlib.sha256()
    while piece := content.read(1 << 20):
        hashed.update(piece)
    plain = re.sub(r"[^\w.,()\[\] -]", "", Path(name.replace("\\", "/")).name)
    plain = plain.encode()[-LONGEST_NAME:].decode(errors="ignore").strip(" .") or "picture"
    place = folder / hashed.hexdigest() / plain
    place.parent.mkdir(parents=True, exist_ok=True)
    content.seek(0)
    with written_aside(place) as aside, aside.open("wb") as target:
        shutil.copyfileobj(content, target)
    return place


async def _limited(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for piece in stream:
        received += len(piece)
        if received > limit:
            raise HTTPException(413, f"This is larger than {limit >> 20} MB; send smaller or fewer pictures.")
        yield piece
