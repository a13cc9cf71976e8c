"""Few and small views are enough for two colours."""

import pytest

from trellis.export.projection import VIEWS


@pytest.fixture(autouse=True)
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIEWS["fast"], "cpu", (8, 192))
