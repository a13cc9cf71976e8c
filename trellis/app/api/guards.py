"""Who is let in: host names, origins and tokens, before any route or page sees a request."""

import asyncio
import ipaddress
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trellis.app.api.errors import error_response
from trellis.app.api.settings import LOCAL_NAMES, ApiSettings

COOKIE = "trellis_token"
HEADER = "x-trellis-token"
QUERY = "token"
OPERATOR = "trellis.operator"  # in the scope of a request that passed
GUARDED = ("http", "websocket")
BODY_PIECE = 1 << 16  # bytes that a body must bring within the time it is given, or end


class HostGuard:
    """Refuses requests to names that are not this server's: a site could point a name of its own here.

    An address in numbers cannot be such a name, so those pass where other computers are served.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self.app = app
        self._local = settings.local
        self._names = {*LOCAL_NAMES, settings.host.lower(), *(name.lower() for name in settings.names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in GUARDED and not self.allowed(Headers(scope=scope).get("host", "")):
            await error_response(400, "This server does not go by that name.")(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def allowed(self, host: str) -> bool:
        """Whether a Host header names this server."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self._local


class OriginGuard:
    """Refuses requests that a page of another site sends, unless its site is one of the `origins` of the settings."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self.app = app
        self._origins = settings.origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in GUARDED else Headers()
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and _place(origin) != headers.get("host"):
            await error_response(403, "This server does not answer pages of other sites.")(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


class TokenGuard:
    """Lets only requests pass that bring a token: in a header, a cookie, the query, or as first element of the path.

    The last two are for clients that cannot send headers; the token is taken out before anything else sees the
    address, and a browser gets it as a cookie, so that the page's own requests pass. The operator's token does what the
    other does, and `is_operator` knows the request; without the other token, all requests pass.
    """

    def __init__(self, app: ASGIApp, token: str | None, operator_token: str | None) -> None:
        self.app = app
        self._open = token is None
        self._operator_token = operator_token
        self._tokens = [one for one in (token, operator_token) if one is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in GUARDED:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token, inner = self._in_address(scope)
        token = token or self._in_headers(headers)
        if token is None and not self._open:
            answer = error_response(401, "A token is required.", None, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)
        elif inner is not scope and _is_browser_s(scope, headers):
            place = quote(inner["path"]) + ("?" + inner["query_string"].decode() if inner["query_string"] else "")
            redirect = RedirectResponse("/" + place.lstrip("/"), status_code=303)
            redirect.set_cookie(COOKIE, token or "", httponly=True, samesite="strict")
            await redirect(scope, receive, send)
        else:
            await self.app({**inner, OPERATOR: token is not None and token == self._operator_token}, receive, send)

    def _in_headers(self, headers: Headers) -> str | None:
        """The known token of a header or cookie, if there is one."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        found = self._known(given.strip()) if scheme.lower() == "bearer" else None
        found = found or self._known(headers.get(HEADER, ""))
        if found is not None:
            return found
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return None if morsel is None else self._known(morsel.value)

    def _in_address(self, scope: Scope) -> tuple[str | None, Scope]:
        """The known token that the address holds, and the request as if it had been sent without."""
        first, _, rest = scope["path"].lstrip("/").partition("/")
        token = self._known(first)
        if token is not None:
            path = "/" + rest
            return token, {**scope, "path": path, "raw_path": quote(path).encode()}
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for name, value in query:
            token = token or (self._known(value) if name == QUERY else None)
        if token is None:
            return None, scope
        kept = [(name, value) for name, value in query if not (name == QUERY and self._known(value))]
        return token, {**scope, "query_string": urlencode(kept).encode()}

    def _known(self, given: str) -> str | None:
        """The token that is meant; compared in constant time."""
        data = given.encode("utf-8", "surrogateescape")
        return next((token for token in self._tokens if secrets.compare_digest(data, token.encode())), None)


def is_operator(request: Request) -> bool:
    """Whether a request brought the operator's token."""
    return bool(request.scope.get(OPERATOR))


def _is_browser_s(scope: Scope, headers: Headers) -> bool:
    return scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", "")


class SafeHeaders:
    """Adds headers that keep browsers from guessing types and from telling other sites where they were."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_with_headers)


class PatienceGuard:
    """Ends requests whose bodies do not go on: such a client keeps a connection, a file and a turn."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        whole = stalled = answered = False
        received, deadline = 0, 0.0

        async def patient() -> Message:
            nonlocal whole, stalled, received, deadline
            if whole:
                return await receive()
            deadline = deadline or time.monotonic() + self._seconds  # the application may have let it wait
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                whole = stalled = True
                return {"type": "http.disconnect"}
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received >= BODY_PIECE:
                received, deadline = 0, 0.0
            return message

        async def send_once(message: Message) -> None:
            nonlocal answered
            if not stalled:
                await send(message)
            elif not answered:
                answered = True
                answer = error_response(408, "The request did not go on; send it again.", None, {"Connection": "close"})
                await answer(scope, receive, send)

        await self.app(scope, patient, send_once)
