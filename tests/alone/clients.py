"""Many clients at once against a running server: is anything lost, and how long does /ping take meanwhile?

Clients submit pictures to /jobs and wait for their files, some through the blocking form route; a probe asks for /ping
all the time, from before the server is up.
"""

import asyncio
import contextlib
import functools
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw

PROBE_SECONDS = 0.05
POLL_SECONDS = 0.25
START_SECONDS = 120.0


@dataclass
class Load:
    """What happened: latencies of /ping in seconds by phase, and counts of everything that was asked for."""

    pings: dict[str, list[float]] = field(default_factory=dict)
    ping_failures: int = 0
    submitted: int = 0
    refused: int = 0
    finished: int = 0
    failed: list[str] = field(default_factory=list)
    forms: int = 0

    @property
    def lost(self) -> int:
        """Jobs that were accepted and neither finished nor explained why not."""
        return self.submitted - self.finished - len(self.failed)


async def ask(
    place: tuple[str, int], method: str, path: str, body: bytes = b"", kind: str = "application/json"
) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nConnection: close\r\n"
        if method == "POST":
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"\r\n" + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    top, _, content = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in top.lower():
        content = b"".join(content.split(b"\r\n")[1::2])
    return int(top.split(b" ", 2)[1]), content


@functools.cache
def picture(number: int, size: int = 512) -> bytes:
    """A coloured block on white, another one for every client."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    color = ((number * 53) % 200 + 30, (number * 97) % 200 + 30, (number * 151) % 200 + 30)
    draw.rounded_rectangle((size // 4, size // 4, 3 * size // 4, 3 * size // 4), size // 10, fill=color)
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def form(fields: dict[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """A multipart body with one file, and its content type."""
    boundary = "load-boundary-7f3a"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n'
    head += "Content-Type: image/png\r\n\r\n"
    body = "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


class Clients:
    """Clients of one server; `phase` names what it is doing, for the latencies."""

    def __init__(self, place: tuple[str, int], options: dict[str, Any]) -> None:
        self.place = place
        self.options = options
        self.load = Load()
        self.phase = "starting"
        self.end = asyncio.Event()  # no new job after it
        self.over = asyncio.Event()  # the probe ends

    async def probe(self) -> None:
        """Ask for /ping until the end; what fails before the server is up does not count."""
        while not self.over.is_set():
            started = time.perf_counter()
            try:
                status, _ = await asyncio.wait_for(ask(self.place, "GET", "/ping"), timeout=10)
                if status == 200:
                    self.load.pings.setdefault(self.phase, []).append(time.perf_counter() - started)
                else:
                    self.load.ping_failures += 1
            except (OSError, TimeoutError, IndexError, ValueError):
                if self.phase != "starting":
                    self.load.ping_failures += 1
            await asyncio.sleep(PROBE_SECONDS)

    async def submit_jobs(self, number: int) -> None:
        """Submit one job after the other, wait for its file, and fetch it; a full queue is asked again."""
        seed = 1000 * number
        while not self.end.is_set():
            seed += 1
            fields = {name: v if isinstance(v, str) else json.dumps(v) for name, v in self.options.items()}
            fields["formats"] = ",".join(self.options["formats"])
            body, kind = form(fields | {"seed": str(seed)}, "pictures", picture(number))
            status, content = await ask(self.place, "POST", "/jobs", body, kind)
            if status == 503:
                self.load.refused += 1
                await asyncio.sleep(1.0)
                continue
            if status != 202:
                self.load.failed.append(f"{status} {content[:200]!r}")
                continue
            self.load.submitted += 1
            await self._follow(json.loads(content)["id"])

    async def _follow(self, job_id: str) -> None:
        while True:
            status, content = await ask(self.place, "GET", f"/jobs/{job_id}")
            job = json.loads(content)
            if status != 200 or job["state"] in ("failed", "cancelled"):
                self.load.failed.append(str(job.get("message") or job))
                return
            if job["state"] == "done":
                break
            await asyncio.sleep(POLL_SECONDS)
        [entry] = [entry for entry in job["files"] if entry["kind"] == "glb"]
        status, content = await ask(self.place, "GET", entry["url"])
        if status == 200 and len(content) == entry["bytes"] and content[:4] == b"glTF":
            self.load.finished += 1
        else:
            self.load.failed.append(f"file: {status}, {len(content)} of {entry['bytes']} bytes")

    async def use_form(self, number: int) -> None:
        """Generate through the blocking route of clients without job ids."""
        seed = 1000 * number
        fields = {"ss_sampling_steps": "2", "slat_sampling_steps": "2", "texture_size": "512"}
        while not self.end.is_set():
            seed += 1
            body, kind = form(fields | {"seed": str(seed)}, "file", picture(number))
            status, content = await ask(self.place, "POST", "/generate_no_preview", body, kind)
            if status == 200:
                self.load.forms += 1
            elif status != 503:
                self.load.failed.append(f"form {status} {content[:200]!r}")


async def run_load(place: tuple[str, int], *, clients: int, seconds: float, options: dict[str, Any]) -> Load:
    """Load a server for `seconds` after a first job, then wait until every accepted job has ended."""
    for number in range(clients + 1):  # now, so that drawing does not delay the probe
        picture(number)
    group = Clients(place, options)
    probe = asyncio.create_task(group.probe())
    deadline = time.monotonic() + START_SECONDS
    while "starting" not in group.load.pings:
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        await asyncio.sleep(0.05)
    group.phase = "first job"  # weights load
    first = asyncio.create_task(group.submit_jobs(0))
    while group.load.submitted == 0 and not first.done():
        await asyncio.sleep(0.05)
    group.end.set()
    await first
    group.phase = "load"
    group.end.clear()
    work = [group.use_form(i) if i % 10 == 9 else group.submit_jobs(i) for i in range(1, clients + 1)]
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.sleep(seconds)
    group.end.set()
    await asyncio.gather(*tasks)
    group.over.set()
    await probe
    return group.load


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
