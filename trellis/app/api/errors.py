"""Errors of the interface: a status code, one sentence, and the field that it is about."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from trellis.app.engine import QueueFullError, UnknownJobError
from trellis.app.storage import StorageError
from trellis.errors import Cancelled, InvalidInputError, LicenceError, TrellisError

RETRY_SECONDS = "5"


class ApiError(TrellisError):
    """A request that cannot be fulfilled: answered with `status` and {"detail": message, "field": name or null}."""

    def __init__(self, status: int, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.field = field


class FieldError(ApiError, InvalidInputError):
    """One field of a request has a value that cannot be used."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(422, message, field=field)


def error_response(
    status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request that failed; text that is not valid Unicode is escaped."""
    body: dict[str, Any] = {"detail": message, "field": field}
    return Response(json.dumps(body), status, media_type="application/json", headers=dict(headers or {}))


def methods_of(app: FastAPI, path: str) -> list[str]:
    """The methods that the document of `app` knows for a path."""
    known = app.openapi()["paths"]
    found = {
        method.upper() for template in known if compile_path(template)[0].match(path) for method in known[template]
    }
    return sorted(found)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every deliberate error, and those of the framework, in the same form."""

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        headers = {"Retry-After": RETRY_SECONDS} if error.status == 503 else {}
        return error_response(error.status, str(error), error.field, headers)

    @app.exception_handler(UnknownJobError)
    async def unknown_job(_: Request, error: UnknownJobError) -> Response:
        return error_response(404, str(error), "job_id")

    @app.exception_handler(QueueFullError)
    async def queue_full(_: Request, error: QueueFullError) -> Response:
        return error_response(503, str(error), None, {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(StorageError)
    async def not_stored(_: Request, error: StorageError) -> Response:
        return error_response(error.status, str(error), None, {"Retry-After": RETRY_SECONDS})

    @app.exception_handler(LicenceError)
    async def not_accepted(_: Request, error: LicenceError) -> Response:
        return error_response(403, str(error), "model")

    @app.exception_handler(InvalidInputError)
    async def invalid_input(_: Request, error: InvalidInputError) -> Response:
        return error_response(422, str(error), error.field)

    @app.exception_handler(TrellisError)
    async def failed(_: Request, error: TrellisError) -> Response:
        return error_response(503 if isinstance(error, Cancelled) else 500, str(error))

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the framework names the methods of one route, not of all on this path
            headers["Allow"] = ", ".join(methods_of(app, request.scope["path"])) or headers.get("Allow", "")
        return error_response(error.status_code, str(error.detail), None, headers)

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return error_response(422, f"{field or 'The request'}: {first['msg']}.", field)
