"""Which model works: the chip, the list, fetching with a bar, cancel and retry, and what goes on meanwhile."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click
from tests.browser.serving import served
from tests.browser.site import Site
from trellis.app.model_choices import ModelChoice
from trellis.errors import FetchError
from trellis.progress import Progress
from trellis.stages import Stage

pytestmark = pytest.mark.browser
LARGE = "#models button[data-model='owner/large']"
MODELS = (
    ModelChoice("nano", "nano (demo)", kinds=("chair", "mug"), licence="MIT"),
    ModelChoice("owner/large", "large · 3.0 GB to fetch", fetch_bytes=3_000_000_000, licence="MIT"),
)


class SlowHub:
    """Fetches a model in small steps until it is let go on; then fails for `fault` or is done."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.fault = ""

    def fetch(self, name: str, *, runtime: Any, progress: Progress) -> None:
        progress.report(Stage.FETCH, 1200, 3000, name)
        while not self.go_on.wait(0.05):
            progress.cancel.raise_if_cancelled()
        if self.fault:
            raise FetchError(self.fault)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHub]:
    hub = SlowHub()
    monkeypatch.setattr("trellis.app.model_fetch.get_model", hub.fetch)
    yield hub
    hub.go_on.set()


def test_a_model_is_fetched_cancelled_tried_again_and_used(
    hub: SlowHub, tmp_path: Path, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    site = Site(tmp_path / "jobs", pictures, MODELS)
    with served(site.app) as address:
        page = open_page(address)
        assert page.inner_text("#model-chip").startswith("Demo model: 2 kinds of simple objects")
        assert not page.is_visible("#models")
        page.wait_for_selector("#model-chip[aria-expanded=false]")
        click(page, "#model-chip")
        page.wait_for_selector("#model-chip[aria-expanded=true]")
        told = page.inner_text("#models")
        assert all(fact in told for fact in ("on this computer", "3.0 GB to fetch", "Licence: MIT"))
        click(page, "#models summary")
        assert page.inner_text("#models .kinds").split() == ["chair", "mug"]

        click(page, LARGE)
        page.wait_for_selector(".fetch [role=progressbar][aria-valuenow='40']")
        assert "1,200 of 3,000 MB" in page.inner_text(".fetch")
        choose_pictures(page, pictures[0])
        click(page, "#generate")  # meanwhile the model before works
        page.wait_for_selector(".job[data-state=done]")
        assert [setup.get("model", "nano") for setup in site.setups] == ["nano"]
        click(page, "#cancel-fetch")
        page.wait_for_selector("#models [role=alert]:has-text('Cancelled')")
        assert page.inner_text(LARGE) == "Try again" and not page.is_visible("#cancel-fetch")

        hub.fault = "owner/large cannot be had: there is no network."
        hub.go_on.set()
        click(page, LARGE)
        page.wait_for_selector("#models [role=alert]:has-text('there is no network')")
        assert "The model before goes on working." in page.inner_text("#models [role=alert]")
        assert page.inner_text("#model-chip").startswith("Demo model")

        hub.fault = ""
        click(page, LARGE)
        page.wait_for_selector("#model-chip:has-text('Model: large')")
        assert page.inner_text(LARGE) == "In use" and page.query_selector("#models [role=alert]") is None
        click(page, "#generate")
        page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 2")
        assert [setup.get("model", "nano") for setup in site.setups] == ["nano", "owner/large"]
        page.focus("#model-chip")
        page.keyboard.press("Escape")
        page.wait_for_selector("#model-chip[aria-expanded=false]")
        assert not page.is_visible("#models")
        site.engine.close()
