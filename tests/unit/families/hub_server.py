"""A hub of models on this computer: repositories in memory, and failures where a test wants them."""

import hashlib
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

LARGE = 1000  # bytes from which a file is listed with its SHA-256, as the hub does for large files


class FakeHub:
    """`repositories` maps owner/name to {path: bytes}; the rest says what goes wrong and what was asked.

    `cut` breaks the connection of the next answers after so many bytes, with a reset if `reset`; `refuse_ranges` sends
    whole files always; `corrupt` names paths whose bytes arrive changed; `busy` is how many files are refused first.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.cut: list[int] = []
        self.reset = False
        self.busy = 0
        self.refuse_ranges = False
        self.corrupt: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.address = ""

    def listing(self, repository: str) -> dict[str, object]:
        """What the hub says of a repository when it is asked for its files with their sizes and hashes."""
        siblings: list[dict[str, object]] = []
        for path, content in self.repositories[repository].items():
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
            entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return {"id": repository, "sha": "abc", "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer on a free port of this computer; `hub.address` is the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            hub.asked.append((path, self.headers.get("Range", "")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                repository = "/".join(parts[2:])
                if repository not in hub.repositories or "blobs" not in query:
                    self.refuse(404, "RepoNotFound")
                    return
                self.answer(json.dumps(hub.listing(repository)).encode())
                return
            repository, inner = "/".join(parts[:2]), "/".join(parts[4:])
            content = hub.repositories.get(repository, {}).get(inner)
            if content is None or parts[2:4] != ["resolve", "abc"]:
                self.refuse(404, "EntryNotFound")
                return
            if hub.busy:
                hub.busy -= 1
                self.refuse(503, "")
                return
            if inner in hub.corrupt:
                content = bytes([content[0] ^ 1]) + content[1:]
            self.answer_file(content)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def answer_file(self, content: bytes) -> None:
            header = self.headers.get("Range", "")
            start = int(header.removeprefix("bytes=").rstrip("-")) if header and not hub.refuse_ranges else 0
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            cut = bool(hub.cut)
            if cut:
                body = body[: hub.cut.pop(0)]
                self.close_connection = True
            hub.sent += len(body)
            self.wfile.write(body)
            if cut and hub.reset:
                Event().wait(0.5)  # what has arrived unread is lost with a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        yield hub
        server.shutdown()
