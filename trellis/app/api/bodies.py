"""Reading what clients send: JSON and forms, up to a limit, piece by piece, with errors that name the field.

A body is put on disk as it comes, and only one request's is taken apart at a time (`Jobs.reading`): what is in memory
does not grow with the number of clients, nor, where they are long, with pictures and meshes.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NoReturn

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from trellis.app.api.errors import ApiError, FieldError
from trellis.app.job_sources import MAX_PICTURES
from trellis.app.json_limits import MOST_VALUES, has_too_many_values
from trellis.app.long_texts import LONG, LongText, find_long_texts, taken_out
from trellis.app.storage import FULL

MAX_FIELDS = 256
MAX_FILES = MAX_PICTURES + 2  # a mesh, and one picture more than a job takes, so that its own check names the field
IN_MEMORY = 2**15  # longer bodies are on disk
MOST_HELD = 2**30  # bytes of all bodies on disk
PIECE = 2**18
MOST_TEXT = 2**25  # bytes, without the long texts of JSON; it takes up to three times its size while it is read
MOST_ESCAPED_TEXT = 2**23  # bytes of a form in one text, of which each escape takes up to forty times its size
DRAIN_FACTOR = 4  # a body over the limit is read on up to so many times the limit, so that the client hears the answer


async def limited_stream(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The pieces of a body; raises ApiError 413 once it is longer than `limit` bytes, also where it lies about it."""
    declared = request.headers.get("content-length", "")
    too_long = declared.isdecimal() and int(declared[:20]) > limit
    received = 0
    try:
        async for piece in request.stream():
            received += len(piece)
            too_long = too_long or received > limit
            if received > DRAIN_FACTOR * limit:
                break
            if not too_long:
                yield piece
    except ClientDisconnect as error:
        raise ApiError(400, "The request ended before its body was complete.") from error
    if too_long:
        raise ApiError(
            413,
            f"The request is larger than {limit / 2**20:.0f} MB; send smaller or fewer pictures, as files of a form "
            "rather than as text.",
        )


@asynccontextmanager
async def received(request: Request, limit: int) -> AsyncIterator[IO[bytes]]:
    """The whole body as a file: at most `limit` bytes, and MOST_ESCAPED_TEXT of a form in one text.

    Raises ApiError, also out of its body, where it cannot be put on disk.
    """
    if media_type(request) == "application/x-www-form-urlencoded":
        limit = min(limit, MOST_ESCAPED_TEXT)
    with SpooledTemporaryFile(max_size=IN_MEMORY) as body, _Held() as held:
        async for piece in limited_stream(request, limit):
            held.add(len(piece))
            with _keeping():
                body.write(piece)
        body.seek(0)
        yield body


@contextmanager
def _keeping() -> Iterator[None]:
    """Raises ApiError 507 or 503 where what comes cannot be put into the temporary folder."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        reason = "the disk of its temporary files is full" if full else f"its temporary folder fails: {error.strerror}"
        raise ApiError(507 if full else 503, f"The server cannot take this: {reason}; try again later.") from error


class _Held:
    """What one body takes of the room for all; raises ApiError 503 where there is none."""

    total = 0

    def __init__(self) -> None:
        self._own = 0

    def add(self, size: int) -> None:
        if _Held.total + size > MOST_HELD:
            raise ApiError(503, "The server has too many requests in hand; try again later.")
        _Held.total += size
        self._own += size

    def __enter__(self) -> "_Held":
        return self

    def __exit__(self, *_: object) -> None:
        _Held.total -= self._own


async def read_json(body: IO[bytes]) -> dict[str, Any]:
    """The object that a JSON body holds; raises ApiError for anything else, NaN and infinities included."""
    return await asyncio.to_thread(parse_json, body)


def parse_json(body: IO[bytes]) -> dict[str, Any]:
    """See `read_json`."""
    data, texts = _without_long_texts(body)
    try:
        value = json.loads(_text_of(data), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ApiError(400, "The JSON of the request is nested too deeply.") from error
    except ValueError as error:  # also bytes that are no Unicode, and integers of thousands of digits
        raise ApiError(400, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(422, f"The body must be a JSON object, not {type(value).__name__}.")
    return {name: _with_texts(item, texts) for name, item in value.items()} if texts else value


def _without_long_texts(body: IO[bytes]) -> tuple[bytes, dict[str, LongText]]:
    """The bytes of a JSON body and, by what stands there in their place, its long texts; raises ApiError 413."""
    size = body.seek(0, os.SEEK_END)
    texts = find_long_texts(body) if size > LONG else []
    if size - sum(text.end - text.begin for text in texts) > MOST_TEXT:
        raise ApiError(413, f"Without pictures and mesh, the request is larger than {MOST_TEXT >> 20} MB.")
    return taken_out(body, texts)


def _with_texts(value: Any, texts: dict[str, LongText]) -> Any:
    """A value of an object with its long texts, also those of a list, in their places."""
    if isinstance(value, list):
        return [texts.get(item, item) if isinstance(item, str) else item for item in value]
    return texts.get(value, value) if isinstance(value, str) else value


def _text_of(data: bytes) -> str:
    if has_too_many_values(data):
        raise ApiError(400, f"The JSON of the request has more than {MOST_VALUES} values.")
    return data.decode(json.detect_encoding(data), "surrogatepass")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def media_type(request: Request) -> str:
    """The content type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(request: Request) -> bool:
    kind = media_type(request)
    return kind == "application/json" or kind.endswith("+json")


def is_form(request: Request) -> bool:
    return media_type(request) in ("multipart/form-data", "application/x-www-form-urlencoded")


@asynccontextmanager
async def opened_form(request: Request, body: IO[bytes]) -> AsyncIterator[FormData]:
    """The fields and files of a form, closed afterwards; raises ApiError for anything else."""
    form = await _read_form(request, body)
    try:
        yield form
    finally:
        await form.close()


class _BoundedParser(MultiPartParser):
    """Takes no more than MOST_TEXT for all its fields, which are in memory; files are on disk."""

    _text = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._text += end - start
            if self._text > MOST_TEXT:
                raise MultiPartException(f"its texts are larger than {MOST_TEXT >> 20} MB; send files.")
        super().on_part_data(data, start, end)


async def _read_form(request: Request, body: IO[bytes]) -> FormData:
    async def stream() -> AsyncGenerator[bytes, None]:
        while piece := body.read(PIECE):
            yield piece
            await asyncio.sleep(0)  # other requests have their turn
        yield b""

    parser: MultiPartParser | FormParser
    try:
        if media_type(request) == "multipart/form-data":
            parser = _BoundedParser(
                request.headers,
                stream(),
                max_files=MAX_FILES,
                max_fields=MAX_FIELDS,
                max_part_size=MOST_TEXT,
            )
        elif media_type(request) == "application/x-www-form-urlencoded":
            parser = FormParser(request.headers, stream(), max_fields=MAX_FIELDS, max_part_size=MOST_ESCAPED_TEXT)
        else:
            raise ApiError(415, "Send a form: multipart/form-data or application/x-www-form-urlencoded.")
        parser.spool_max_size = IN_MEMORY  # type: ignore[union-attr]
        with _keeping():
            return await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"The form cannot be read: {error.message}") from error
    except (KeyError, UnicodeError, LookupError) as error:
        raise ApiError(400, f"The form cannot be read: {error}") from error


def text_field(form: FormData, name: str) -> str | None:
    """The last text given for a field, None where it is missing or empty; raises FieldError for a file."""
    values = [value for value in form.getlist(name) if value != ""]
    if not values:
        return None
    if isinstance(values[-1], UploadFile):
        raise FieldError(name, f"{name} must be text, not a file.")
    return values[-1]


def file_field(form: FormData, name: str) -> list[IO[bytes]]:
    """Every file uploaded under a name, open until the form is closed; an empty choice of a browser's is left out."""
    files: list[IO[bytes]] = []
    for value in form.getlist(name):
        if not isinstance(value, UploadFile):
            if value == "":
                continue
            raise FieldError(name, f"{name} must be a file, not text.")
        if value.size or value.filename:
            files.append(value.file)
    return files


def file_name(form: FormData, name: str) -> str:
    """What the client calls the first file uploaded under a name."""
    files = (value for value in form.getlist(name) if isinstance(value, UploadFile))
    return next((file.filename or "" for file in files), "")
