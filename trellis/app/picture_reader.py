"""Reading the pictures of clients in a process of its own, one at a time: no picture harms the server.

A picture of a few kilobytes can take gigabytes and minutes, and a decoder's fault ends its process. So a child reads
them (`trellis.app.picture_worker`); it is ended when it takes too much memory or time, and started again for the next.
"""

import json
import logging
import shutil
import struct
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from trellis.app.long_texts import LongText
from trellis.app.storage import StorageError, storing
from trellis.errors import InvalidInputError

PROGRAM = Path(__file__).with_name("picture_worker.py")
LONGEST = 1024  # pixels of a side: no more is used of a picture of an object
MAX_PIXELS = 50_000_000  # 200 MB decoded; 1024 x 1024 is all that is used of a picture
MEMORY_LIMIT = 3 << 29  # bytes of the child; the largest picture takes 0.6 GB, u2net about as much
TIME_LIMIT = 10.0  # seconds a picture; the slowest that is honest takes two or three
CUT_OUT_LIMIT = 120.0  # seconds for cutting out, where u2net may run on a slow computer
IDLE_SECONDS = 300.0  # without a picture; then the child ends
WATCH_SECONDS = 0.02
PIECE = 1 << 18
HELD = "held"  # in the upload folder: files that go when nobody holds their objects any more, and not before

Content = str | LongText | IO[bytes]  # base64, or a file that is open
Shares = tuple[float, float, float, float]  # left, top, right, bottom, of the sides of a picture


class CutOutError(InvalidInputError):
    """The picture was read, and no object was found in it: a person can show where it is."""


@dataclass(frozen=True)
class Drawn:
    """What a person drew on a picture, as `trellis.conditioning.marks` has it.

    `strokes` is a picture over the whole of it, as a data address: green adds, red removes, clear says nothing.
    """

    crop: Shares | None = None
    box: Shares | None = None
    strokes: str = ""


class ReadPicture:
    """A picture that was read: `path` is a PNG file, RGB or RGBA, no side longer than asked for; `notes` are on it.

    The file is deleted when nobody holds this object any more. `thumbnail` is the address of a small picture of it, as
    pages show it, where it was cut out, `mask` that of what was kept of it, where somebody drew on it.
    """

    def __init__(self, path: Path, notes: tuple[str, ...] = (), thumbnail: str = "", mask: str = "") -> None:
        self.path = path
        self.notes = notes
        self.thumbnail = thumbnail
        self.mask = mask
        weakref.finalize(self, path.unlink, missing_ok=True)


class PictureReader:
    """Reads pictures one after the other in a child process; its files are in `folder`, which is emptied first.

    Its methods return at once; their futures raise InvalidInputError for what is no usable picture, StorageError where
    the result cannot be written.
    """

    def __init__(self, folder: Path, *, memory_limit: int = MEMORY_LIMIT, time_limit: float = TIME_LIMIT) -> None:
        self.folder = folder.absolute()
        self._memory_limit = memory_limit
        self._time_limit = time_limit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture reader")
        self._child: subprocess.Popen[bytes] | None = None
        self._idle: threading.Timer | None = None
        shutil.rmtree(folder, ignore_errors=True)

    def read(self, content: Content, *, max_pixels: int = MAX_PIXELS, longest: int = LONGEST) -> "Future[ReadPicture]":
        """Read a picture that is base64 text or an open file, from its beginning; no side stays over `longest`."""
        values = {
            "order": "read",
            "base64": isinstance(content, str | LongText),
            "max_pixels": max_pixels,
            "longest": longest,
        }
        return self._submit(values, content, self._time_limit)

    def cut_out(self, path: Path, way: str, *, drawn: Drawn | None = None) -> "Future[ReadPicture]":
        """Cut the object out of a picture file; `way` is one of `trellis.conditioning.matting.BACKGROUND_MODES`.

        `drawn` helps it. No network is fetched. Whoever calls has made sure that clients may name the file. Where the
        picture can be read, and nothing is found in it, the future raises CutOutError.
        """
        values = {"order": "cut_out", "path": str(path.absolute()), "way": way, "max_pixels": MAX_PIXELS}
        values |= {"drawn": None if drawn is None else asdict(drawn)}
        return self._submit(values, None, CUT_OUT_LIMIT)

    def lay_over(self, new: Path, old: Path | None, mask: Path) -> "Future[ReadPicture]":
        """The picture `old` (clear, where there is none) with `new` laid over it where the alpha of `mask` says so.

        All three are files of the program.
        """
        values = {"order": "lay_over", "new": str(new), "old": None if old is None else str(old), "mask": str(mask)}
        return self._submit(values, None, CUT_OUT_LIMIT)

    def close(self) -> None:
        """End the child; what still waits is not read, and its futures are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        child = self._child
        if child is not None:
            child.kill()
        self._thread.shutdown(wait=True)
        self._rest_later(None)
        self._end_child()

    def _submit(self, values: dict[str, Any], content: Content | None, seconds: float) -> "Future[ReadPicture]":
        try:
            return self._thread.submit(self._carry_out, values, content, seconds)
        except RuntimeError:  # it is closed
            result: Future[ReadPicture] = Future()
            result.cancel()
            return result

    def _rest_later(self, seconds: float | None) -> None:
        """End the child after so much time without a picture."""
        if self._idle is not None:
            self._idle.cancel()
        if seconds is not None:
            self._idle = threading.Timer(seconds, self._rest)
            self._idle.daemon = True
            self._idle.start()

    def _rest(self) -> None:
        try:
            self._thread.submit(self._end_child)  # in its turn: pictures may have come
        except RuntimeError:
            return

    def _carry_out(self, values: dict[str, Any], content: Content | None, seconds: float) -> ReadPicture:
        self._rest_later(None)
        try:
            return self._read(values, content, seconds)
        finally:
            self._rest_later(IDLE_SECONDS)

    def _read(self, values: dict[str, Any], content: Content | None, seconds: float) -> ReadPicture:
        target = self.folder / HELD / f"{uuid.uuid4().hex}.png"
        with storing(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            answer = self._converse(values | {"target": str(target)}, content, seconds)
            if answer.get("kind") == "storage":
                raise OSError(answer["errno"] or 0, answer["error"], str(self.folder))
        if "error" not in answer:
            return ReadPicture(target, tuple(answer["notes"]), answer.get("thumbnail", ""), answer.get("mask", ""))
        target.unlink(missing_ok=True)
        if answer["kind"] == "object":
            raise CutOutError(answer["error"])
        if answer["kind"] == "input":
            raise InvalidInputError(answer["error"])
        if answer["kind"] == "memory":
            raise InvalidInputError("The picture takes too much memory to read; reduce it to 1024 x 1024 pixels.")
        if answer["kind"] == "time":
            raise InvalidInputError("The picture takes too long to read; reduce it to 1024 x 1024 pixels.")
        raise InvalidInputError(f"The picture stopped its reader ({answer['error']}); save it again as PNG or JPEG.")

    def _converse(self, values: dict[str, Any], content: Content | None, seconds: float) -> dict[str, Any]:
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        line = b""
        with self._watched(child, seconds) as ended_for:
            try:
                child.stdin.write(json.dumps(values).encode() + b"\n")
                for piece in pieces_of(content):
                    child.stdin.write(struct.pack(">I", len(piece)) + piece)
                child.stdin.flush()
                line = child.stdout.readline()
            except OSError:  # it has ended
                line = b""
            except BaseException:  # the request was given up and its file closed: half an order is sent
                self._end_child()
                raise
        if line.endswith(b"\n"):
            return dict(json.loads(line))
        code = self._end_child()
        return {"error": f"code {code}", "kind": next(iter(ended_for), "fault")}

    @contextmanager
    def _watched(self, child: "subprocess.Popen[bytes]", seconds: float) -> Iterator[list[str]]:
        """End the child where it goes beyond its limits meanwhile; yields the reasons for which it was ended."""
        done = threading.Event()
        reasons: list[str] = []
        deadline = time.monotonic() + seconds

        def watch() -> None:
            while not done.wait(WATCH_SECONDS):
                try:
                    size = psutil.Process(child.pid).memory_info().rss
                except psutil.Error:  # it has ended
                    return
                if size > self._memory_limit or time.monotonic() > deadline:
                    reasons.append("memory" if size > self._memory_limit else "time")
                    child.kill()
                    return

        watcher = threading.Thread(target=watch, name="picture watch", daemon=True)
        watcher.start()
        try:
            yield reasons
        finally:
            done.set()
            watcher.join()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            self._end_child()
            # -P: the modules beside the program are not for import by their bare names.
            command = [sys.executable, "-P", str(PROGRAM)]
            try:
                self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:  # too many files are open, or too many processes run
                raise StorageError(full=False, reason=f"no process can be started: {error.strerror}") from error
        return self._child

    def _end_child(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        code = child.wait()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            try:
                stream.close()
            except OSError as error:  # what was still to be written has no reader
                logging.getLogger(__name__).debug("Closing a pipe of the picture reader: %s", error)
        return code


def pieces_of(content: Content | None) -> Iterator[bytes]:
    """The content in pieces, the last of them empty; nothing where there is none."""
    if content is None:
        return
    if isinstance(content, LongText):
        yield from filter(None, content.pieces())
    elif isinstance(content, str):
        for begin in range(0, len(content), PIECE):
            yield content[begin : begin + PIECE].encode("utf-8", "replace")
    else:
        content.seek(0)
        while piece := content.read(PIECE):
            yield piece
    yield b""
