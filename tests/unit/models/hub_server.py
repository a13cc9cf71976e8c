"""A hub of models on this computer: repositories in memory, and failures where a test wants them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

LARGE = 1000  # bytes from which a file is listed with its SHA-256, as the hub does for large files


class FakeHub:
    """`repositories` maps owner/name to {path: bytes}; the rest says what goes wrong and what was asked.

    `cut` breaks the connection of the next answers after so many bytes; `refuse_ranges` sends whole files always;
    `corrupt` names paths whose bytes arrive changed.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.cut: list[int] = []
        self.refuse_ranges = False
        self.corrupt: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.address = ""

    def listing(self, repository: str) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [{"type": "directory", "path": "ckpts", "oid": "0", "size": 0}]
        for path, content in self.repositories[repository].items():
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry)
        return entries


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer on a free port of this computer; `hub.address` is the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            hub.asked.append((path, self.headers.get("Range", "")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                repository, rest = "/".join(parts[2:4]), parts[4:]
                if repository not in hub.repositories:
                    self.send_error(404)
                    return
                self.answer(json.dumps({"sha": "abc"} if rest[0] == "revision" else hub.listing(repository)).encode())
                return
            repository, inner = "/".join(parts[:2]), "/".join(parts[4:])
            content = hub.repositories.get(repository, {}).get(inner)
            if content is None or parts[2:4] != ["resolve", "abc"]:
                self.send_error(404)
                return
            if inner in hub.corrupt:
                content = bytes([content[0] ^ 1]) + content[1:]
            self.answer_file(content)

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
            self.end_headers()
            if hub.cut:
                body = body[: hub.cut.pop(0)]
                self.close_connection = True
            hub.sent += len(body)
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        yield hub
        server.shutdown()
