"""One log line for a request that changed something or failed; clients' polls are not told."""

import asyncio
import logging
import time

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET_METHODS = ("GET", "HEAD", "OPTIONS")
FETCHES = ("/download/model", "/download/preview/")

_log = logging.getLogger(__name__)


class AccessLog:
    """Logs method, path, status and time of requests, without query or token; failed ones at a higher level.

    A request that still goes on when the server has waited long enough at its end is ended here, in order.
    """

    def __init__(self, app: ASGIApp, tokens: tuple[str, ...]) -> None:
        self.app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, head = 500, None

        async def send_noting_status(message: Message) -> None:
            nonlocal status, head
            if message["type"] == "http.response.start":
                status, head = message["status"], Headers(raw=message["headers"])
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        except asyncio.CancelledError:  # by the server alone
            if head is None:
                await PlainTextResponse("The program ends.", 503)(scope, receive, send_noting_status)
            elif "content-length" not in head:
                await send({"type": "http.response.body"})
        finally:
            _log.log(
                self._level(scope, status),
                "%s %s %d %.0f ms",
                scope["method"],
                self._path(scope),
                status,
                1000 * (time.perf_counter() - started),
            )

    def _level(self, scope: Scope, status: int) -> int:
        if status >= 400 and status != 503:  # "not yet" is no fault
            return logging.WARNING
        path = self._path(scope)
        fetched = path.startswith(FETCHES) or "/files/" in path
        told = scope["method"] not in QUIET_METHODS or fetched
        own = not path.startswith("/gradio_api/")
        return logging.INFO if told and own else logging.DEBUG

    def _path(self, scope: Scope) -> str:
        path = str(scope["path"])
        for token in self._tokens:
            path = path.replace(token, "***")
        return path.encode("unicode_escape").decode()[:200]
