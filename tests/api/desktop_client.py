"""A client that behaves as the StableProjectorz desktop client does: its polls, its types, its one blocking POST.

Written from the description of that client: /ping every 0.5 s, operations and panel every 3 s, /status every 1 s during
the POST, the panel's text turned into elements whose values are sent by `code_name`, the result taken only from the
POST's answer. Nothing but the standard library, no header that it does not send.
"""

import base64
import http.client
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PING_SECONDS, PANEL_SECONDS, STATUS_SECONDS = 0.5, 3.0, 1.0
TIMEOUTS = {"lost": 4.0, "connected": 12.0, "generating": 25.0}  # of /ping
CONTAINERS = ("vgroup", "hgroup", "go")
CONTROLS = ("slider", "toggle", "int_horizontal", "int_vertical", "str_input", "text_prompt", "single_multi_img_input")
CONTROLS += ("dropdown",)
SILENT = ("header", "button")  # elements whose value is null
PROPERTY = re.compile(r"([A-Za-z_.]+)=(\((?:[^()]*)\)|\[(?:[^\[\]]*)\]|[^\s]+)")


@dataclass
class Element:
    kind: str
    indent: int
    properties: dict[str, str]


def parse_panel(text: str) -> list[Element]:
    """The elements of a panel by the client's grammar; raises AssertionError for what it would not understand."""
    elements = []
    for line in text.splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        kind, _, rest = line.strip().partition(" ")
        kind = kind.lower()
        assert kind in (*CONTAINERS, *CONTROLS, *SILENT, "space"), line
        properties = {key: value.strip("()") if value[0] == "(" else value for key, value in PROPERTY.findall(rest)}
        assert PROPERTY.sub("", rest).replace(":", "").strip() == "", f"left over in {line!r}"
        elements.append(Element(kind, indent, properties))
    for before, after in itertools.pairwise(elements):
        assert after.indent <= before.indent or before.kind in CONTAINERS, after
    return elements


def default_value(element: Element) -> Any:
    """What the client sends for an untouched element."""
    given = element.properties.get("default")
    if element.kind == "slider":
        return float(given or 0.5)
    if element.kind in ("int_horizontal", "int_vertical", "dropdown"):
        return int(given or 0)
    if element.kind == "toggle":
        return given == "true"
    if element.kind in SILENT:
        return None
    return [""] if element.kind == "single_multi_img_input" else given or ""


@dataclass
class Call:
    at: float
    method: str
    path: str
    status: int
    seconds: float


@dataclass
class DesktopClient:
    """Polls in threads from `start` to `stop`; `speed` makes its clock run faster."""

    host: str
    port: int
    speed: float = 1.0
    calls: list[Call] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    panel: str = ""
    panel_builds: int = 0
    operations: list[str] = field(default_factory=list)
    connected: bool = False
    generating: bool = False
    progress: list[float] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    model: bytes = b""
    textures: list[bytes] = field(default_factory=list)
    shown: str = ""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = time.monotonic()

    def start(self) -> "DesktopClient":
        for work, seconds in ((self._ping, PING_SECONDS), (self._poll_operations, PANEL_SECONDS)):
            self._repeat(work, seconds, self._stop)
        self._repeat(self._poll_panel, PANEL_SECONDS, self._stop)
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def call(self, method: str, path: str, body: Any = None, timeout: float = 600.0) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        started = time.monotonic()
        status = 0
        try:
            headers = {"User-Agent": "UnityPlayer/2022.3 (UnityWebRequest/1.0, libcurl/8.5.0-DEV)", "Accept": "*/*"}
            payload = None
            if isinstance(body, dict):
                payload, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
            elif body is not None:
                payload, headers["Content-Type"] = body, "application/x-www-form-urlencoded"
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            return status, content
        except OSError:
            return 0, b""
        finally:
            connection.close()
            now = time.monotonic()
            self.calls.append(Call(started - self._started, method, path, status, now - started))

    def values(self, pictures: list[bytes]) -> dict[str, Any]:
        """What the client would send: every element's value, the pictures as bare base64, and what to generate."""
        values: dict[str, Any] = {}
        for element in parse_panel(self.panel):
            if element.kind in CONTAINERS or element.kind == "space":
                continue
            values[element.properties.get("code_name", "")] = default_value(element)
            if element.kind == "single_multi_img_input":
                values[element.properties["code_name"]] = [base64.b64encode(data).decode() for data in pictures] or [""]
        return values | {"generate_what": "make_meshes_and_tex"}

    def generate(self, pictures: list[bytes], **changes: Any) -> str:
        """Press Generate and wait: what the client shows in the end."""
        ended = threading.Event()
        self.generating, self.progress, self.states, self.model = True, [], [], b""
        self._say("generate")
        self._repeat(self._poll_status, STATUS_SECONDS, ended)
        status, content = self.call("POST", "/generate", self.values(pictures) | changes)
        ended.set()
        self.generating = False
        self.shown = self._finish(status, content)
        self._say(self.shown)
        return self.shown

    def retexture(
        self, pictures: list[bytes], mesh: bytes, extension: str, *, via_masks: bool = False, **changes: Any
    ) -> str:
        """Press Retexture for a mesh of its own and wait: what the client shows in the end; lists of `changes` are
        pictures, as bytes."""
        encoded = {
            key: [base64.b64encode(item).decode() for item in value] if isinstance(value, list) else value
            for key, value in changes.items()
        }
        values = self.values(pictures) | {"generate_what": "retexture_via_masks" if via_masks else "retexture"}
        values |= {"mesh_3d": base64.b64encode(mesh).decode(), "mesh_extension": extension} | encoded
        self.textures = []
        status, content = self.call("POST", "/generate", values)
        answer = json.loads(content) if 200 <= status < 300 else {"status": "none"}
        if answer["status"] != "COMPLETE":
            return f"Generation failed: {answer.get('message')}"
        status, content = self.call("GET", "/download/texture")
        for key, value in (json.loads(content) if status == 200 else {}).items():
            if "tex_list" in key and isinstance(value, list):
                self.textures += [base64.b64decode(item) for item in value]
        return "imported" if self.textures else f"no texture: {status}"

    def press_cancel(self) -> None:
        status, content = self.call("POST", "/interrupt", b"")
        self._say(f"interrupt: {status} {content.decode()}")

    def _finish(self, status: int, content: bytes) -> str:
        if not 200 <= status < 300:
            return "No response from generation request"
        answer = json.loads(content)
        assert set(answer) == {"status", "progress", "message", "preview_urls", "model_url"}
        if answer["status"] == "FAILED":
            return f"Generation failed: {answer['message']}"
        assert answer["status"] == "COMPLETE", answer  # the client would wait for ever
        status, self.model = self.call("GET", "/download/model")
        return "imported" if status == 200 and self.model[:4] == b"glTF" else f"no model: {status}"

    def _ping(self) -> None:
        limit = TIMEOUTS["generating" if self.generating else "connected" if self.connected else "lost"]
        status, _ = self.call("GET", "/ping", timeout=limit)
        if self.connected != (200 <= status < 300):
            self.connected = not self.connected
            self._say("connection light " + ("green" if self.connected else "red"))

    def _poll_operations(self) -> None:
        status, content = self.call("GET", "/info/supported_operations")
        self.operations = (json.loads(content) if status == 200 else None) or ["make_meshes_and_tex"]

    def _poll_panel(self) -> None:
        status, content = self.call("GET", "/download/spz-ui-layout/generation-3d-panel")
        text = content.decode("utf-8")
        if status == 200 and text and text != self.panel:
            parse_panel(text)
            self.panel, self.panel_builds = text, self.panel_builds + 1
            self._say("panel built")

    def _poll_status(self) -> None:
        status, content = self.call("GET", "/status")
        if status == 200 and self.generating:
            answer = json.loads(content)
            self.progress.append(answer["progress"] / 100)
            self.states.append(answer["status"])
            self._say(f"status {answer['status']} {answer['progress']}% {answer['message']}")

    def _repeat(self, work: Callable[[], None], seconds: float, end: threading.Event) -> None:
        def loop() -> None:
            while not end.is_set() and not self._stop.is_set():
                work()
                end.wait(seconds / self.speed)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _say(self, line: str) -> None:
        self.log.append(f"{time.monotonic() - self._started:7.2f}  {line}")
