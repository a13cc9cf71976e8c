"""Reading what clients send: JSON and forms, up to a limit, piece by piece, with errors that name the field."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from trellis.app.api.errors import ApiError, FieldError
from trellis.app.sources import MAX_PICTURES

MAX_FIELDS = 256
MAX_FILES = MAX_PICTURES + 1  # one more than a job takes, so that its own check names the field
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
        raise ApiError(413, f"The request is larger than {limit / 2**20:.0f} MB; send smaller or fewer pictures.")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes."""
    return b"".join([piece async for piece in limited_stream(request, limit)])


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The object that a JSON body holds; raises ApiError for anything else, NaN and infinities included."""
    body = await read_body(request, limit)
    if len(body) > 2**20:
        return await asyncio.to_thread(parse_json, body)
    return parse_json(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """See `read_json`."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ApiError(400, "The JSON of the request is nested too deeply.") from error
    except ValueError as error:  # also bytes that are no Unicode, and integers of thousands of digits
        raise ApiError(400, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(422, f"The body must be a JSON object, not {type(value).__name__}.")
    return value


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


async def read_form(request: Request, limit: int) -> FormData:
    """The fields and files of a form; close it after use. Raises ApiError for anything else."""
    stream = limited_stream(request, limit)
    parser: MultiPartParser | FormParser
    try:
        if media_type(request) == "multipart/form-data":
            parser = MultiPartParser(
                request.headers, stream, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=limit
            )
        elif media_type(request) == "application/x-www-form-urlencoded":
            parser = FormParser(request.headers, stream, max_fields=MAX_FIELDS, max_part_size=limit)
        else:
            raise ApiError(415, "Send a form: multipart/form-data or application/x-www-form-urlencoded.")
        return await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"The form cannot be read: {error.message}") from error
    except (KeyError, UnicodeDecodeError, LookupError) as error:
        raise ApiError(400, f"The form cannot be read: {error}") from error


def text_field(form: FormData, name: str) -> str | None:
    """The last text given for a field, None where it is missing or empty; raises FieldError for a file."""
    values = [value for value in form.getlist(name) if value != ""]
    if not values:
        return None
    if isinstance(values[-1], UploadFile):
        raise FieldError(name, f"{name} must be text, not a file.")
    return values[-1]


async def file_field(form: FormData, name: str) -> list[bytes]:
    """The content of every file uploaded under a name; an empty choice of a browser's form is left out."""
    contents = []
    for value in form.getlist(name):
        if not isinstance(value, UploadFile):
            if value == "":
                continue
            raise FieldError(name, f"{name} must be a file, not text.")
        content = await value.read()
        if content or value.filename:
            contents.append(content)
    return contents
