"""Mesh files that clients send: each in a folder of its own until nobody holds it any more, tried before it is used.

A file of a few kilobytes can state gigabytes. So a child process reads it first (`trellis.app.mesh_worker`), one file
at a time, and is ended when it takes too much memory or time.
"""

import base64
import binascii
import json
import shutil
import string
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil

from trellis.app.long_texts import LongText
from trellis.app.picture_reader import HELD, Content, pieces_of
from trellis.app.storage import StorageError, storing
from trellis.encoding.options import LARGEST_FILE, MESH_FORMATS
from trellis.errors import Cancelled, InvalidInputError

MEMORY_LIMIT = 8 << 30  # bytes of the child, whose libraries take half a gigabyte
TIME_LIMIT = 120.0  # seconds; two million faces take five
WATCH_SECONDS = 0.05


class ReadMesh:
    """A mesh file that was kept: `path`, which is deleted when nobody holds this object any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        weakref.finalize(self, shutil.rmtree, path.parent, ignore_errors=True)


class MeshReader:
    """Tries the mesh files of all clients, one after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mesh reader")
        self._closed = threading.Event()

    def check(self, kept: ReadMesh, *, up: str = "auto", shape: Path | None = None) -> "Future[None]":
        """Have a file tried, and its `shape` written to be shown; the future raises what `check_mesh` does, and is
        cancelled at the end of the program.
        """
        try:
            return self._thread.submit(check_mesh, kept, up=up, shape=shape, stop=self._closed)
        except RuntimeError:  # it is closed
            result: Future[None] = Future()
            result.cancel()
            return result

    def close(self) -> None:
        """End the child; what still waits is not tried."""
        self._closed.set()
        self._thread.shutdown(wait=True, cancel_futures=True)


def mesh_ending(name: str) -> str:
    """The ending of a mesh file's name; raises InvalidInputError for one that is not read."""
    ending = Path(name).suffix.lower()
    if ending not in MESH_FORMATS:
        raise InvalidInputError(
            f"mesh_name must end in one of {', '.join(MESH_FORMATS)}, not {name[-80:]!r}.", field="mesh_name"
        )
    return ending


def keep_mesh(content: Content, name: str, folder: Path) -> ReadMesh:
    """Keep a mesh that is base64 text or an open file, under a name of ours that ends as `name` does.

    Raises InvalidInputError, naming the field, for no text of base64, an ending that is not read, and more than
    LARGEST_FILE; StorageError. `check_mesh` tries it.
    """
    place = folder / HELD / uuid.uuid4().hex / f"mesh{mesh_ending(name)}"
    with storing(folder):
        place.parent.mkdir(parents=True)
        kept = ReadMesh(place)
        with place.open("wb") as target:
            pieces = pieces_of(content)
            target.writelines(_decoded(pieces) if isinstance(content, str | LongText) else pieces)
    size = place.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        what = f"has {size / 2**20:.0f} MB, more than {LARGEST_FILE >> 20}: simplify it" if size else "is empty"
        raise InvalidInputError(f"mesh {what}.", field="mesh")
    return kept


def check_mesh(kept: ReadMesh, *, up: str, stop: threading.Event, shape: Path | None = None) -> None:
    """Raise InvalidInputError unless a mesh with an area is read from a file; that takes up to TIME_LIMIT.

    up: as in `trellis.encoding.options.MeshOptions`; stop: ends it earlier; shape: where a GLB file of the mesh's faces
    is written, to be shown. Raises Cancelled then, StorageError where
    no process can be started.
    """
    error = _tried(kept.path, up, stop, *([] if shape is None else [shape]))
    if error is not None:
        raise InvalidInputError(f"mesh: {error}", field="mesh")


def _tried(path: Path, up: str, stop: threading.Event, *shape: Path) -> str | None:
    """What is wrong with a mesh file, in a sentence."""
    command, pipe = child_command("mesh_worker", path, up, *shape), subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    except OSError as error:  # too many files are open, or too many processes run
        raise StorageError(full=False, reason=f"no process can be started: {error.strerror}") from error
    deadline, excess = time.monotonic() + TIME_LIMIT, ""
    try:
        while not excess and child.poll() is None and not stop.wait(WATCH_SECONDS):
            excess = _excess(child.pid, deadline)
    finally:
        child.kill()
        said, _ = child.communicate()
    if stop.is_set():
        raise Cancelled("The program ended before the mesh was read: send it again.")
    if excess:
        return f"The mesh takes too {excess} to read: simplify it."
    try:
        problem = json.loads(said)["error"]
    except (ValueError, KeyError):
        return "The mesh stopped its reader: save it again, as GLB."
    return None if problem is None else str(problem)


def child_command(worker: str, *words: object) -> list[str]:
    """The command that runs `main` of a module of this package, with texts of these words, in a process of its own.

    It ends when its standard input does, as that of a pipe whose other end died.
    """
    boot = (
        "import json, os, sys, threading; sys.path[:] = json.loads(sys.argv[1]); "
        "parent = os.dup(0); os.dup2(os.open(os.devnull, os.O_RDONLY), 0); "  # see `trellis.app.worker_process.BOOT`
        "threading.Thread(target=lambda: (os.read(parent, 1), os._exit(1)), daemon=True).start(); "
        f"from trellis.app.{worker} import main; main(*sys.argv[2:])"
    )
    return [sys.executable, "-c", boot, json.dumps(sys.path), *map(str, words)]


def _excess(number: int, deadline: float) -> str:
    """What a process takes too much of, "" for nothing."""
    try:
        if psutil.Process(number).memory_info().rss > MEMORY_LIMIT:
            return "much memory"
    except psutil.Error:  # it has ended
        return ""
    return "long" if time.monotonic() > deadline else ""


def _decoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What pieces of base64 say, with or without line breaks, the first with or without a data address before it."""
    first, space = next(pieces), string.whitespace.encode()
    rest = (first.partition(b"base64,")[2] or first).translate(None, space)
    try:
        for piece in pieces:  # the last is empty
            text = rest + piece.translate(None, space)
            whole = len(text) // 4 * 4 if piece else len(text)
            rest = text[whole:]
            yield base64.b64decode(text[:whole], validate=True)
    except binascii.Error as error:
        raise InvalidInputError(f"mesh is no base64: {error}.", field="mesh") from error
