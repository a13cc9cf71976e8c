"""The page behind the interface: put together in a thread while the interface answers already."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

STARTING = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="1"><title>TRELLIS</title>
<style>:root { color-scheme: light dark; } body { font: 16px system-ui, sans-serif; display: grid; place-items: center;
min-height: 90vh; }</style></head><body><p role="status">TRELLIS is starting…</p></body></html>
"""

_log = logging.getLogger(__name__)


class LatePage:
    """An application that is made by `build` once the server runs; until then it answers that it is starting (503).

    Importing what the page is made of takes seconds; clients of the interface do not wait for it.
    """

    def __init__(self, build: Callable[[], FastAPI]) -> None:
        self._build = build
        self._page: FastAPI | None = None
        self._failed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._page is not None:
            await self._page(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer_without_page(scope["path"])(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make the page, and run what it does from its start to its end: a mounted application's is run by nobody."""
        ended = asyncio.Event()
        keeper = asyncio.create_task(self._keep(ended))
        keeper.add_done_callback(self._note_failure)
        try:
            yield
        finally:
            ended.set()
            await asyncio.wait([keeper])

    async def _keep(self, ended: asyncio.Event) -> None:
        gc.disable()  # imports make so many objects that every look at them would hold all threads for long
        try:
            page = await asyncio.to_thread(self._build)
        finally:
            gc.freeze()  # they stay: no later look need go over them
            gc.enable()
        async with page.router.lifespan_context(page):
            self._page = page
            _log.info("The page is ready")
            await ended.wait()

    def _note_failure(self, keeper: "asyncio.Task[None]") -> None:
        error = keeper.exception()
        if error is not None:
            self._failed = True
            _log.error("The page cannot be shown", exc_info=error)

    def _answer_without_page(self, path: str) -> Response:
        if self._failed:
            return PlainTextResponse("The page cannot be shown; the log says why.", 500)
        headers = {"Retry-After": "1", "Cache-Control": "no-store"}
        if path == "/":
            return HTMLResponse(STARTING, 503, headers)
        return PlainTextResponse("The page is not ready yet.", 503, headers)
