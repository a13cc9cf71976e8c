"""Whose page it is: a cookie that only this server reads, so that people see their own results and nobody else's."""

import hashlib
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "trellis_owner"
SECONDS_KEPT = 365 * 86400
SECRET_BYTES = 24
PAGE_OWNER = "page "  # begins the owner of a page whose browser keeps no cookies


def owner_of(cookie: str | None) -> str:
    """The digest that stands for the owner of a cookie's value; "" without a usable one."""
    if not cookie or len(cookie) < SECRET_BYTES:
        return ""
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).hexdigest()


def owner_of_headers(headers: Headers) -> str:
    """The owner that the cookies of a request state."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return owner_of(None if morsel is None else morsel.value)


class OwnerCookie:
    """Gives every browser that opens the page a secret of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_new = scope["type"] == "http" and scope["method"] == "GET" and not owner_of_headers(Headers(scope=scope))
        if not is_new:
            await self.app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    secret = secrets.token_urlsafe(SECRET_BYTES)
                    headers.append(
                        "set-cookie",
                        f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECONDS_KEPT}",
                    )
            await send(message)

        await self.app(scope, receive, send_with_cookie)
