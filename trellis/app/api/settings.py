"""Where the server listens, who may use it, and how much one request may send."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from trellis.app.picture_reader import MAX_PIXELS
from trellis.errors import InvalidInputError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7960
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
SHORTEST_TOKEN = 12
MAX_UPLOAD_BYTES = 320 * 2**20  # a mesh of the largest size, and pictures
BUSY_SECONDS = 30.0
BODY_SECONDS = 30.0


@dataclass(frozen=True)
class ApiSettings:
    """Settings of the server; raises InvalidInputError for what would open it unasked.

    Only this computer is served unless `host` says otherwise, and then a `token` or `trust_lan` is needed. With a
    token, every request must bring it, or the `operator_token`, whose bearer sees the jobs of all. `names` are host
    names, besides this computer's own, that requests may address; `origins` are sites whose pages may call the server
    (CORS), none by default. `busy_seconds` is how long a client without job ids waits for its turn, `body_seconds` how
    long a request may send next to nothing. `metrics`: GET /metrics is there although other computers are served.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    token: str | None = None
    operator_token: str | None = None
    trust_lan: bool = False
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    max_picture_pixels: int = MAX_PIXELS
    busy_seconds: float = BUSY_SECONDS
    body_seconds: float = BODY_SECONDS
    metrics: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidInputError(f"port must be from 0 to 65535, not {self.port}.")
        for name, token in (("token", self.token), ("operator-token", self.operator_token)):
            if token is not None and not is_strong(token):
                raise InvalidInputError(
                    f"{name} must have at least {SHORTEST_TOKEN} characters, all of them letters, digits, - or _."
                )
        if self.token is not None and self.token == self.operator_token:
            raise InvalidInputError("operator-token must be another than token.")
        if not is_local(self.host) and self.token is None and not self.trust_lan:
            raise InvalidInputError(
                f"host {self.host} lets other computers use this program: give a token that they must know, "
                "or say with trust-lan that everybody on this network may."
            )
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise InvalidInputError(f"origin must look like https://example.org, not {origin!r}.")

    @property
    def tokens(self) -> tuple[str, ...]:
        """What no log may say."""
        return tuple(token for token in (self.token, self.operator_token) if token is not None)

    @property
    def local(self) -> bool:
        """Only this computer can reach the server."""
        return is_local(self.host)


def is_strong(token: str) -> bool:
    """Whether a token cannot be guessed and has a place in an address."""
    allowed = token.isascii() and all(sign.isalnum() or sign in "-_" for sign in token)
    return allowed and len(token) >= SHORTEST_TOKEN


def is_local(host: str) -> bool:
    """Whether an address to listen on is reachable from this computer alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
