"""One Chromium for all tests; every page fails its test when it asks anything of another server."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.serving import CHROMIUM, SOFTWARE_WEBGL, WITHOUT_OWN_PAGES, served
from tests.browser.site import COLORS, Site

WITHOUT_WEBGL = """
const getContext = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind.startsWith("webgl") ? null : getContext.call(this, kind, ...more);
};"""
# A model that turns is drawn all the time, which takes a core with software WebGL.
STILL: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
# Of one session after another: its cache keeps the page's scripts, which to fetch and compile takes half of a start.
_shared: list[BrowserContext] = []
SCREENSHOTS = Path("outputs/screenshots")  # ignored by git

_log = logging.getLogger(__name__)  # shown where a test fails


@pytest.fixture(scope="package")  # closed before the other tests: software WebGL takes a core
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*SOFTWARE_WEBGL, WITHOUT_OWN_PAGES])
        yield chromium
        _shared.clear()
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(address, webgl, **context options)`: see `opened_pages`."""
    with opened_pages(browser) as open_page:
        yield open_page


@contextmanager
def opened_pages(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(address, webgl, **context options)`: a page of a new session, ready for use.

    One without other options than its size, where none is open, is the same person's as the one that was closed.
    Where no test looks at the model, the page has no WebGL: to start it takes a third of a page's processor time.
    """
    contexts, outside, faults, addresses = [], [], [], set[str]()
    usual = _shared.pop() if _shared else browser.new_context(**STILL)

    def _open(address: str, *, webgl: bool = False, **options: Any) -> Page:
        context = usual
        if usual.pages or not options.keys() <= {"viewport"}:
            contexts.append(context := browser.new_context(**STILL | options))
        addresses.add(address)
        page = context.new_page()
        page.set_viewport_size(options.get("viewport", STILL["viewport"]))
        if not webgl:
            page.add_init_script(WITHOUT_WEBGL)
        page.set_default_timeout(180_000)  # only a failing test waits so long
        page.on("request", lambda request: _note_outside(request.url, address, outside))
        page.on("console", lambda message: _log.warning("%s: %s", message.type, message.text))
        page.on("requestfailed", lambda request: _log.warning("%s: %s", request.url, request.failure))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#viewer .tv-pane", state="attached")
        return page

    yield _open
    for context in contexts:
        context.close()
    _forget(usual, addresses)
    _shared.append(usual)
    assert outside == []
    assert faults == []


def _forget(context: BrowserContext, addresses: set[str]) -> None:
    """Make the next page that of a new session: nothing is left but the cache."""
    context.clear_cookies()
    context.clear_permissions()
    session = context.new_cdp_session(context.pages[0] if context.pages else context.new_page())
    kinds = "cookies,local_storage,indexeddb,service_workers,cache_storage"
    for address in addresses:
        session.send("Storage.clearDataForOrigin", {"origin": address, "storageTypes": kinds})
    for page in context.pages:
        page.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"square_{index}.png" for index in range(len(COLORS))]
    for color, path in zip(COLORS, paths, strict=True):
        image = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
        image.paste((*color, 255), (24, 24, 104, 104))
        image.save(path)
    return paths


@pytest.fixture
def site(tmp_path: Path, pictures: list[Path]) -> Iterator[Site]:
    site = Site(tmp_path / "jobs", pictures)
    with served(site.app) as site.address:
        yield site
        site.pipeline.gate.set()
        site.engine.close()


@pytest.fixture
def screenshot() -> Callable[[Page, str], bytes]:
    """`screenshot(page, name)` keeps a picture of the page under an ignored folder."""

    def _take(page: Page, name: str) -> bytes:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        return page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return _take


def _note_outside(url: str, address: str, outside: list[str]) -> None:
    if not url.startswith((f"{address}/", "data:", "blob:")):
        outside.append(url)
