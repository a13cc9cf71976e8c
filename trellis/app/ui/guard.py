"""What stands before Gradio: of all its routes the few that the page uses, with the program's own limits.

Gradio opens what a client names, fetches addresses that a client names, and keeps what clients send; so every request
is looked at before Gradio sees it.
"""

import asyncio
import json
import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trellis.app.json_limits import has_too_many_values
from trellis.app.ui.uploads import REFUSAL, UPLOAD_ROUTE, uploaded_file
from trellis.errors import InvalidInputError, TrellisError

API = "/gradio_api"
JOIN, FILE = f"{API}/queue/join", f"{API}/file="
STREAM = f"{API}/queue/data"
GETS = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon/(192|512)|/(assets|static|svelte|results)/.+"
    rf"|/\w+\.js|/example\.glb|{API}/(info/?|theme\.css|startup-events|queue/data|queue/status|upload_progress|app_id/?|file=.+)"
)
SESSION = re.compile(r"[0-9A-Za-z_-]{1,64}")
MOST_BODY = 1 << 20  # bytes of an event: pictures come by upload
MOST_EVENT_DATA = 4096  # bytes of what was chosen in a gallery, say
LONGEST_PATH = 2048
LONGEST_RANGE = 100
MOST_STREAMS = 256  # open at a time, for one client
BURST, PER_SECOND = 600, 60  # requests of one client: a page is about 150 at its first visit
EVENT_COST = 10  # requests; what changes something takes more than what is looked at
MOST_CLIENTS = 1024  # that are told apart


class PageRequestError(TrellisError):
    """A request that the page does not make; answered with `status` and the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageGuard:
    """Lets through what the page needs, within limits.

    Files that an event names must be ordinary files in the folder of `uploads`; those that are fetched must be there or
    in one of the folders `shown`. `inputs` are how many values each event of the page has, by its number.
    """

    def __init__(self, app: ASGIApp, *, uploads: Path, shown: Sequence[Path], inputs: Mapping[int, int]) -> None:
        self.app = app
        self._inputs = inputs
        self._uploads = uploads
        self._shown = [uploads.absolute(), *(folder.absolute() for folder in shown)]
        self._allowance: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when, by client
        self._streams: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        try:
            self._check_pace(client, 1 if scope.get("method") in ("GET", "HEAD") else EVENT_COST)
            checked = await self._checked(scope, receive)
            await self._pass_on(scope, checked, send, client)
        except PageRequestError as refusal:
            await JSONResponse({"detail": str(refusal)}, refusal.status)(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """What the application may receive; raises PageRequestError."""
        if scope["type"] != "http" or len(scope["path"]) > LONGEST_PATH:
            raise PageRequestError(404, "There is nothing here.")
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and GETS.fullmatch(path):
            self._check_names(scope)
            if len(Headers(scope=scope).get("range", "")) > LONGEST_RANGE:
                raise PageRequestError(416, "That is no part of a file.")
            return receive
        if method == "POST" and path == JOIN:
            return _given(await self._checked_event(receive))
        if method == "POST" and path == UPLOAD_ROUTE:
            return receive
        raise PageRequestError(404, "There is nothing here.")

    def _check_names(self, scope: Scope) -> None:
        """Raise PageRequestError for a session of a strange form, or a file that is not to be shown."""
        path: str = scope["path"]
        if path.startswith(FILE):
            named = Path(path.removeprefix(FILE))
            if ".." in named.parts or not any(named.is_relative_to(folder) for folder in self._shown):
                raise PageRequestError(404, "There is no such file.")
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            if name == "session_hash" and not SESSION.fullmatch(value):
                raise PageRequestError(400, "session_hash is not one of a page.")

    def _check_pace(self, client: str, cost: int) -> None:
        """Raise PageRequestError for a client whose requests come too fast."""
        now = time.monotonic()
        left, then = self._allowance.pop(client, (float(BURST), now))
        left = min(float(BURST), left + PER_SECOND * (now - then)) - cost
        self._allowance[client] = (max(0.0, left), now)
        while len(self._allowance) > MOST_CLIENTS:
            self._allowance.popitem(last=False)
        if left < 0:
            raise PageRequestError(429, "Too many requests; wait a moment.")

    async def _checked_event(self, receive: Receive) -> bytes:
        """The body of an event that names only uploaded files; raises PageRequestError."""
        body = b""
        async for piece in _pieces(receive):
            body += piece
            if len(body) > MOST_BODY:
                raise PageRequestError(413, f"This is larger than {MOST_BODY >> 20} MB.")
        if has_too_many_values(body):
            raise PageRequestError(413, "The event has too many values.")
        try:
            event = json.loads(body)
            json.dumps(event, ensure_ascii=False).encode()  # fails for halves of characters
        except (ValueError, RecursionError) as error:
            raise PageRequestError(400, "The event is not valid JSON.") from error
        if not isinstance(event, dict) or not isinstance(event.get("data"), list):
            raise PageRequestError(422, "The event must be an object with its data.")
        number = event.get("fn_index")
        trigger = event.get("trigger_id")
        known = isinstance(number, int) and self._inputs.get(number) == len(event["data"])
        if not known or not (trigger is None or (isinstance(trigger, int) and abs(trigger) < 2**31)):
            raise PageRequestError(422, "This is no event of the page.")
        session = event.get("session_hash")
        if not isinstance(session, str) or not SESSION.fullmatch(session):
            raise PageRequestError(400, "session_hash is not one of a page.")
        try:
            await asyncio.to_thread(self._check_files, event)
        except (InvalidInputError, RecursionError) as error:
            raise PageRequestError(403, REFUSAL) from error
        if len(json.dumps(event.get("event_data"))) > MOST_EVENT_DATA:
            raise PageRequestError(413, "The event has too many values.")
        kept = ("data", "event_data", "fn_index", "trigger_id", "session_hash")
        return json.dumps({name: event[name] for name in kept if name in event}).encode()

    def _check_files(self, event: dict[str, Any]) -> None:
        for named in _named_files(event):
            if not isinstance(named, str):
                raise InvalidInputError(REFUSAL)
            uploaded_file(named, self._uploads)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, client: str) -> None:
        if not scope["path"].startswith(STREAM):
            await self.app(scope, receive, send)
            return
        if self._streams[client] >= MOST_STREAMS:
            raise PageRequestError(429, "Too many pages are open.")
        self._streams[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._streams[client] -= 1
            self._streams += Counter()  # forgets those without any


def _named_files(value: Any) -> Iterator[Any]:
    """What stands for files anywhere in an event."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_files(item)


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise PageRequestError(400, "The request ended before its body was complete.")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _given(body: bytes) -> Receive:
    """Receives a body that is here already."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    return receive
