"""Cutting an object out by hand, in Chromium: by mouse and by keyboard, and what Generate then takes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.browser.actions import click, wait_while
from tests.browser.site import Site

pytestmark = pytest.mark.browser
WIDTH, HEIGHT = 320, 240
RED = (60, 60, 140, 180)  # left, top, right, bottom


@pytest.fixture
def cluttered(tmp_path: Path) -> Path:
    """Two squares on a border of many colours: nothing stands out from that."""
    tiles = np.random.default_rng(5).integers(60, 200, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    picture = Image.fromarray(tiles).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    picture.paste((250, 20, 20), RED)
    picture.paste((20, 20, 250), (200, 60, 280, 180))
    path = tmp_path / "cluttered.png"
    picture.save(path)
    return path


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#pictures input[type=file]", str(path))


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draw over the picture of the dialog with the mouse; points are pixels of the picture."""
    area = page.locator("#cutout-editor canvas").bounding_box()
    assert area is not None
    places = [(area["x"] + x / WIDTH * area["width"], area["y"] + y / HEIGHT * area["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
    wait_for_mask(page)


def wait_for_mask(page: Page) -> None:
    page.wait_for_selector("#cutout-editor dialog[open][aria-busy=false]")


def use(page: Page) -> None:
    """Press Done, and wait until the picture is replaced."""
    click(page, "#cutout-editor [data-order=use]")
    page.wait_for_selector("#cutout-editor dialog:not([open])", state="attached")
    page.wait_for_selector("#cutouts .cutouts[data-state=ready]")


def generated(page: Page, site: Site) -> np.ndarray:
    """The picture of a job that Generate starts."""
    before = set(site.job_folders)
    click(page, "#generate")
    wait_while(page, lambda: set(site.job_folders) == before)
    [folder] = set(site.job_folders) - before
    page.wait_for_selector(f".job[data-state=done][data-job='{folder.name}']")
    return np.asarray(Image.open(folder / "picture_0.png"))


def test_a_box_and_a_brush_make_what_is_generated(
    site: Site, cluttered: Path, open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address)
    upload(page, cluttered)
    page.wait_for_selector("#cutouts [data-tool=box]")
    screenshot(page, "cutout_refused")
    click(page, "#cutouts [data-tool=box]")
    wait_for_mask(page)
    drag(page, (50, 50), (150, 190))
    click(page, "#cutout-editor [data-tool=add]")
    drag(page, (210, 120), (270, 120))
    click(page, "#cutout-editor [data-tool=remove]")
    drag(page, (65, 70), (100, 70), (135, 70))
    screenshot(page, "cutout_dialog")
    drag(page, (80, 150), (120, 150))
    page.locator("#cutout-editor [data-order=undo]").click()
    wait_for_mask(page)
    use(page)
    screenshot(page, "cutout_used")
    alpha = generated(page, site)[..., 3]
    assert alpha.shape == (HEIGHT, WIDTH)
    assert alpha[100:170, 70:130].min() > 200  # in the box; the second removal was taken back
    assert alpha[120, 220:260].min() > 200 and alpha[70, 70:130].max() < 50  # the strokes
    assert alpha[:40].max() < 50 and alpha[200:].max() < 50 and alpha[80, 230] < 50

    click(page, "#cutouts [data-cutout]")  # once more: what was drawn is there, on the whole picture
    wait_for_mask(page)
    click(page, "#cutout-editor [data-tool=crop]")
    drag(page, (40, 40), (160, 200))
    use(page)
    cropped = generated(page, site)
    assert np.abs(np.array(cropped.shape) - (160, 120, 4)).max() <= 2
    assert cropped[60:130, 30:90, 3].min() > 200 and cropped[30, 30:90, 3].max() < 50


def test_the_whole_picture_is_one_click_away(site: Site, cluttered: Path, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    upload(page, cluttered)
    click(page, "#cutouts [data-tool=whole]")
    page.wait_for_selector("#cutouts .cutouts[data-state=ready]")
    used = generated(page, site)
    assert used.shape == (HEIGHT, WIDTH, 4) and used[..., 3].min() == 255


def test_a_box_is_drawn_by_keys_alone(site: Site, cluttered: Path, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    upload(page, cluttered)
    page.wait_for_selector("#cutouts [data-tool=box]")
    page.focus("#cutouts [data-tool=box]")
    page.keyboard.press("Enter")
    wait_for_mask(page)
    page.focus("#cutout-editor canvas")
    for keys in (["Shift+ArrowLeft"] * 3 + ["Shift+ArrowUp"] * 3, ["Enter"]):
        for key in keys:
            page.keyboard.press(key)
    for key in ["Shift+ArrowRight"] * 2 + ["ArrowRight"] * 3 + ["Shift+ArrowDown"] * 6 + ["Enter"]:
        page.keyboard.press(key)
    wait_for_mask(page)
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.order") == "use"
    page.keyboard.press("Enter")
    page.wait_for_selector("#cutouts .cutouts[data-state=ready]")
    alpha = generated(page, site)[..., 3]
    assert alpha[100:140, 70:130].min() > 200 and alpha[:, 160:].max() < 50

    click(page, "#cutouts [data-cutout]")
    wait_for_mask(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#cutout-editor dialog:not([open])", state="attached")
