"""Few and small views are enough where an asset's files are made of shapes and colours as simple as the tests'.

Their charts are made in this process: see `charts_here`."""

from collections.abc import Iterator

import pytest

from tests.charts_here import charts_here
from trellis.export.projection import VIEWS


@pytest.fixture(scope="package", autouse=True)
def few_views_and_no_child() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for mode in ("fast", "best"):
            patch.setitem(VIEWS[mode], "cpu", (8, 192))
        with charts_here():
            yield
