"""Files of a hub, by huggingface_hub: sizes ahead, resumed and checked; a file is whole, or it is not there."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from trellis.errors import FetchError

PIECE = 1 << 20  # bytes between two reports; the library's own 10 MB leave a slow line without a word, or an end
TIMEOUT = 30.0  # seconds without an answer
ATTEMPTS = 3  # each goes on after six broken connections without a byte
PAUSE = 2.0  # seconds before the second attempt; doubled before each further one
SPARE = 256 << 20  # bytes that are left free on the disk


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: where from, how many bytes, its hash as (algorithm, hexadecimal digits), headers to ask with.

    The algorithm is one of hashlib's, or "git" for the identity that git gives a small file.
    """

    url: str
    size: int
    digest: tuple[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


def list_repository(repository: str) -> dict[str, RemoteFile]:
    """The files of a hub repository's newest version by path, with addresses that stay at that version.

    The hub is HF_ENDPOINT's. Raises FetchError when the repository cannot be read.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers

    hub = HfApi()
    try:
        found = hub.model_info(repository, files_metadata=True, timeout=TIMEOUT)
    except RepositoryNotFoundError as error:
        raise FetchError(f"{repository}: there is none at {hub.endpoint}, or it needs a login") from error
    except httpx2.TransportError as error:
        unreached = f"The hub ({hub.endpoint}) cannot be reached: check the network or the proxy (HTTPS_PROXY)"
        raise FetchError(unreached) from error
    except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
        raise FetchError(f"{repository}: {_reason(error)}") from error
    files = {}
    for file in found.siblings or ():
        digest = ("sha256", file.lfs.sha256) if file.lfs else ("git", file.blob_id or "")
        url = f"{hub.endpoint}/{repository}/resolve/{found.sha}/{file.rfilename}"
        files[file.rfilename] = RemoteFile(url, file.size or 0, digest, build_hf_headers())
    return files


def _reason(error: Exception) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


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
    """Raise FetchError unless `size` bytes and some to spare fit on the disk of `folder`."""
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(existing).free
    if free < size + SPARE:
        raise FetchError(
            f"{size / 1e9:.2f} GB are to be fetched to {folder}, where {free / 1e9:.2f} GB are free. Make room, or "
            "choose another disk with TRELLIS_MODELS."
        )


def fetch_file(remote: RemoteFile, target: Path, *, on_bytes: Callable[[int], None]) -> Path:
    """Fetch a file to `target`, going on where an earlier call stopped; `on_bytes` hears of every piece that arrives.

    What `on_bytes` raises stops the download and keeps what has arrived (`snapshot_download` would throw it away, and
    checks no hash). Raises FetchError when the network gives up, or when the bytes are wrong (they are thrown away).
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    part = partial_path(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _append(remote, part, on_bytes)
            break
        except (httpx2.HTTPError, OSError) as error:
            refused = isinstance(error, HfHubHTTPError) and error.response.status_code < 500
            if refused or attempt == ATTEMPTS:
                raise FetchError(
                    f"{remote.url} could not be fetched ({_reason(error)}). Check the network and start again: what "
                    "has arrived is kept."
                ) from error
            time.sleep(PAUSE * 2 ** (attempt - 1))
    if not is_whole(remote, part):
        part.unlink()
        raise FetchError(f"{remote.url} arrived damaged. Start again to fetch it once more.")
    part.replace(target)
    return target


def _append(remote: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch what is missing of the partial file, with the library's way of going on after a broken connection."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get

    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each attempt would be a warning
    if part.is_file() and part.stat().st_size > remote.size:
        part.unlink()
    with part.open("ab") as file:
        have = file.tell()

        def bar(*, initial: int = 0, **_labels: Any) -> AbstractContextManager[Any]:
            on_bytes(initial - have)  # the server may send the whole file again
            return nullcontext(SimpleNamespace(update=on_bytes))

        http_get(
            remote.url,
            file,
            resume_size=have,
            headers=dict(remote.headers),
            expected_size=remote.size,
            tqdm_class=cast(Any, bar),
        )


def is_whole(remote: RemoteFile, path: Path) -> bool:
    """Whether a file on the disk has the stated size and hash."""
    size = path.stat().st_size if path.is_file() else -1
    if size != remote.size:
        return False
    algorithm, expected = remote.digest
    is_git = algorithm == "git"
    found = hashlib.new("sha1" if is_git else algorithm, f"blob {size}\0".encode() * is_git, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: found).hexdigest() == expected
