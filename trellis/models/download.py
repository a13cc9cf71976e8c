"""Files over HTTP: listed, resumed, retried and checked; a file is whole and right, or it is not there."""

import hashlib
import http.client
import json
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trellis.errors import CheckpointError

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5
PAUSE = 2.0  # seconds before the second attempt; doubled before each further one
SPARE = 256 << 20  # bytes that are left free on the disk
NETWORK_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: where from, how many bytes, and its hash as (algorithm, hexadecimal digits).

    The algorithm is one of hashlib's, or "git" for the identity that git gives a small file; None: not stated.
    """

    path: str
    url: str
    size: int
    digest: tuple[str, str] | None = None


def list_repository(endpoint: str, repository: str) -> dict[str, RemoteFile]:
    """The files of a hub repository's newest version by path, with addresses that stay at that version.

    Raises CheckpointError when the repository cannot be read.
    """
    try:
        revision = _json(f"{endpoint}/api/models/{repository}/revision/main")["sha"]
        listing = _json(f"{endpoint}/api/models/{repository}/tree/{revision}?recursive=true")
        files = [_remote_file(entry, f"{endpoint}/{repository}/resolve/{revision}") for entry in listing]
    except (*NETWORK_ERRORS, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{repository}: {error or type(error).__name__}") from error
    return {file.path: file for file in files if file is not None}


def _json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return json.load(answer)


def _remote_file(entry: dict[str, Any], base: str) -> RemoteFile | None:
    if entry["type"] != "file":
        return None
    large = entry.get("lfs")
    digest = ("sha256", large["oid"]) if large else ("git", entry["oid"])
    return RemoteFile(entry["path"], f"{base}/{entry['path']}", int(entry["size"]), digest)


def partial_path(target: Path) -> Path:
    """Where the bytes of an unfinished download are."""
    return target.with_name(target.name + ".part")


def missing_bytes(files: Sequence[tuple[RemoteFile, Path]]) -> int:
    """Bytes that are still to be fetched of (file, target) pairs; a target of the right size counts as whole."""
    missing = 0
    for remote, target in files:
        if not (target.is_file() and target.stat().st_size == remote.size):
            part = partial_path(target)
            missing += max(0, remote.size - (part.stat().st_size if part.is_file() else 0))
    return missing


def require_space(folder: Path, size: int) -> None:
    """Raise CheckpointError unless `size` bytes and some to spare fit on the disk of `folder`."""
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(existing).free
    if free < size + SPARE:
        raise CheckpointError(
            f"{size / 1e9:.2f} GB are to be fetched to {folder}, where {free / 1e9:.2f} GB are free. Make room, or "
            "choose another disk with TRELLIS_MODELS."
        )


def fetch_file(remote: RemoteFile, target: Path, *, on_bytes: Callable[[int], None], pause: float = PAUSE) -> Path:
    """Fetch a file to `target`, going on where an earlier call stopped; `on_bytes` hears of every piece that arrives.

    What `on_bytes` raises stops the download and keeps what has arrived. Raises CheckpointError when the network gives
    up, or when the bytes are not the right ones (they are thrown away then).
    """
    part = partial_path(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _append(remote, part, on_bytes)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise CheckpointError(f"{remote.url}: {error}") from error
            _wait_or_give_up(remote, error, attempt, pause)
        except NETWORK_ERRORS as error:
            _wait_or_give_up(remote, error, attempt, pause)
    problem = damage(remote, part)
    if problem is not None:
        part.unlink()
        raise CheckpointError(f"{remote.url} arrived damaged: {problem}. Start again to fetch it once more.")
    part.replace(target)
    return target


def _wait_or_give_up(remote: RemoteFile, error: Exception, attempt: int, pause: float) -> None:
    if attempt == ATTEMPTS:
        raise CheckpointError(
            f"{remote.url} could not be fetched ({error or type(error).__name__}). Check the network and start again: "
            "what has arrived is kept."
        ) from error
    logger.info("%s: %s; another attempt", remote.url, error)
    time.sleep(pause * 2 ** (attempt - 1))


def _append(remote: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch what is missing of the partial file; raises OSError or HTTPException when the connection breaks."""
    have = part.stat().st_size if part.is_file() else 0
    if have > remote.size:
        part.unlink()
        have = 0
    if have == remote.size and part.is_file():
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        if have and not resumed:
            on_bytes(-have)  # the server sends the whole file again
        with part.open("ab" if resumed else "wb") as file:
            while piece := answer.read(CHUNK):
                file.write(piece)
                on_bytes(len(piece))
    if part.stat().st_size < remote.size:
        raise ConnectionError("the connection ended early")


def damage(remote: RemoteFile, path: Path) -> str | None:
    """What is wrong with a file on the disk, None if size and hash are as stated."""
    size = path.stat().st_size
    if size != remote.size:
        return f"{size} bytes instead of {remote.size}"
    if remote.digest is None:
        return None
    algorithm, expected = remote.digest
    found = hashlib.new("sha1" if algorithm == "git" else algorithm, usedforsecurity=False)
    if algorithm == "git":
        found.update(f"blob {size}\0".encode())
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            found.update(piece)
    return None if found.hexdigest() == expected else f"its {algorithm} hash is not the stated one"
