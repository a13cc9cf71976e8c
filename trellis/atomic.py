"""Files that are complete or absent: written beside their place, then renamed into it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trellis.errors import Cancelled

PROBE_BYTES = 1 << 16


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` that replaces `path` when the body succeeds.

    Missing folders are created. When the body raises, the temporary file is removed and `path` keeps what it was.
    The temporary name ends like `path`, because encoders choose the format by the suffix. Where nothing more can be
    written there, an error of the body, whatever its words, becomes the system's OSError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)  # mkstemp makes it private to the user; an asset is an ordinary file
        aside.replace(path)
    except Cancelled:
        raise
    except Exception:
        with aside.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path` in one step and return the path."""
    with written_aside(path) as aside:
        aside.write_bytes(data)
    return Path(path)
