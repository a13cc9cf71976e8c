"""What a person does on the page. Clicks are made by script: software WebGL leaves the page too busy for real ones."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, TimeoutError

from tests.unit.app.waiting import PATIENCE

BRIGHTEST = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number))"

VIEWER_STATE = """[...document.querySelectorAll("#viewer .tv-pane")].map(
  (pane) => [pane.dataset.kind, pane.dataset.state, pane.innerText].join(" | ")).join(" || ")"""


def click(page: Page, selector: str) -> None:
    page.wait_for_selector(selector, state="attached")
    page.evaluate("selector => document.querySelector(selector).click()", selector)


def choose_pictures(page: Page, *pictures: Path) -> None:
    """Upload pictures and wait until what is cut out of them is shown."""
    page.set_input_files("#pictures input[type=file]", [str(picture) for picture in pictures])
    page.wait_for_function(
        "count => document.querySelectorAll('#cutouts .cutouts[data-state=ready] img').length === count",
        arg=len(pictures),
    )


def choose_option(page: Page, field: str, text: str) -> None:
    """Choose what begins with `text` in a list that drops down."""
    page.locator(f"{field} input").click()
    page.locator(f"{field} [role=option]:has-text('{text}')").first.click()


def wait_while(page: Page, condition: Callable[[], bool]) -> None:
    """Wait while something holds that the page does not show."""
    deadline = time.monotonic() + PATIENCE
    while condition():
        assert time.monotonic() < deadline, "waited in vain"
        page.wait_for_timeout(50)


def viewer_pixels(page: Page) -> np.ndarray:
    """What the viewer shows, float [H, W, 3] in 0..255, without its rows of buttons."""
    picture = Image.open(io.BytesIO(page.locator(".tv-view").screenshot())).convert("RGB")
    return np.asarray(picture, dtype=float)[56:-56, 10:-10]


def colored_share(pixels: np.ndarray) -> float:
    """Share of clearly coloured pixels; the pane behind the model is grey."""
    return float((pixels.max(axis=-1) - pixels.min(axis=-1) > 60).mean())


def detail_share(pixels: np.ndarray) -> float:
    """Share of pixels at an edge: the empty pane is a smooth gradient, a drawn model has outline and shading."""
    grey = pixels[..., :3].astype(np.float64).mean(axis=-1)
    return float((np.abs(np.diff(grey, axis=1))[1:] + np.abs(np.diff(grey, axis=0))[:, 1:] > 12).mean())


def wait_for_model(
    page: Page,
    kind: str,
    *,
    share: Callable[[np.ndarray], float] = colored_share,
    least: float = 0.02,
    unlike: np.ndarray | None = None,
) -> np.ndarray:
    """Wait until the viewer has drawn the kind of model and return its pixels (see `viewer_pixels`).

    Drawn is what has at least this share of pixels, and another picture than `unlike`, of what was shown before.
    """
    try:
        page.wait_for_selector(f".tv-pane[data-kind={kind}][data-state=ready]")
    except TimeoutError as error:
        raise AssertionError(f"the viewer: {page.evaluate(VIEWER_STATE)}") from error
    deadline = time.monotonic() + PATIENCE
    while True:
        pixels = viewer_pixels(page)
        changed = unlike is None or float(np.abs(pixels - unlike).mean()) > 0.2
        if changed and share(pixels) > least:
            return pixels
        assert time.monotonic() < deadline, f"{kind}: {share(pixels):.4f} of the picture, changed: {changed}"
        page.wait_for_timeout(100)


def wait_for_theme(page: Page, theme: str) -> None:
    """Wait until the page is light or dark, and its button says so."""
    page.wait_for_function(f"dark => ({BRIGHTEST} < 60) === dark", arg=theme == "dark")
    page.wait_for_selector(f"#theme button[aria-pressed={str(theme == 'dark').lower()}]")
