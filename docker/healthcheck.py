"""The container's health: the server answers its ping, whatever the work is doing. Exit status 0 or 1."""

import http.client
import os
import sys

PLACE = ("127.0.0.1", 7960)
SECONDS = 4.0


def is_healthy(place: tuple[str, int] = PLACE, token: str | None = None) -> bool:
    """Whether the server at `place` answers GET /ping with 200."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(*place, timeout=SECONDS)
    try:
        connection.request("GET", "/ping", headers=headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_healthy(token=os.environ.get("TRELLIS_TOKEN")) else 1)
