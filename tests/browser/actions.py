"""What a person does on the page. Clicks are made by script: software WebGL leaves the page too busy for real ones."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page


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


def stop_rotation(page: Page) -> None:
    page.evaluate("document.querySelector('[data-action=rotate][aria-pressed=true]')?.click()")


def wait_for_model(page: Page, kind: str) -> None:
    """Wait until the viewer shows the kind of model and has had time to draw it."""
    page.wait_for_selector(f".tv-pane[data-kind={kind}][data-state=ready]")
    page.wait_for_timeout(4000 if kind == "ply" else 1500)


def viewer_pixels(page: Page) -> np.ndarray:
    """What the viewer shows, float [H, W, 3] in 0..255, without its bar of buttons."""
    picture = Image.open(io.BytesIO(page.locator(".tv-pane").screenshot(timeout=90_000))).convert("RGB")
    return np.asarray(picture, dtype=float)[10:-60, 10:-10]


def colored_share(pixels: np.ndarray) -> float:
    """Share of clearly coloured pixels; the pane behind the model is grey."""
    return float((pixels.max(axis=-1) - pixels.min(axis=-1) > 60).mean())


def detail_share(pixels: np.ndarray) -> float:
    """Share of pixels at an edge: the empty pane is a smooth gradient, a drawn model has outline and shading."""
    grey = pixels[..., :3].astype(np.float64).mean(axis=-1)
    return float((np.abs(np.diff(grey, axis=1))[1:] + np.abs(np.diff(grey, axis=0))[:, 1:] > 12).mean())
