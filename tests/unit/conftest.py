"""Few and small views are enough where an asset's files are made of shapes and colours as simple as the tests'."""

from collections.abc import Iterator

import pytest

from trellis.export.projection import VIEWS


@pytest.fixture(scope="package", autouse=True)
def few_views() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for mode in ("fast", "best"):
            patch.setitem(VIEWS[mode], "cpu", (8, 192))
        yield
