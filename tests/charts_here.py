"""Texture coordinates made by the child's functions in this process: to start it takes longer than its work on a test.

That the child is killed, and what is said of one that dies, `unit/export/test_texture.py` looks at.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from numpy.typing import NDArray

from trellis.export.native_worker import OPERATIONS
from trellis.progress import Progress


@contextmanager
def charts_here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trellis.export.unwrap.run_native", _run_here)
        yield


def _run_here(operation: str, arrays: dict[str, NDArray], *, progress: Progress) -> dict[str, NDArray]:
    progress.cancel.raise_if_cancelled()
    return OPERATIONS[operation](arrays)
