"""Drafts of four seeds to choose from, and other files of a shape that is there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click, wait_for_model, wait_for_theme
from tests.browser.site import Site
from trellis.app.jobs import JobState

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("variants", {"viewport": {"width": 1280, "height": 720}}),
        ("variants-dark", {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark", "locale": "ko-KR"}),
        ("variants-phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}),
    ],
)
def test_of_four_drafts_one_is_finished(
    site: Site,
    pictures: list[Path],
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], bytes],
    name: str,
    options: dict[str, object],
) -> None:
    seen = name == "variants"  # the model; the others are about room and words
    page = open_page(site.address, webgl=seen, **options)
    page.fill("#option-seed input", "41")
    click(page, "#keep-seed input")
    choose_pictures(page, pictures[0])
    click(page, "#vary")
    page.wait_for_selector(".variant[data-state=done] img")
    assert page.locator(".variant").count() == 4 and page.locator(".variant[disabled]").count() > 0
    screenshot(page, f"{name}-making")
    page.wait_for_function("document.querySelectorAll('.variant[data-state=done] img').length === 4")
    assert [call["seed"] for call in site.pipeline.calls] == [41, 42, 43, 44] and site.pipeline.saves == []
    screenshot(page, name)
    page.reload()  # they are the person's, not the page's
    page.wait_for_selector("#viewer .tv-pane", state="attached")
    page.wait_for_function("document.querySelectorAll('.variant[data-state=done] img').length === 4")
    click(page, ".variant:nth-of-type(2)")
    page.wait_for_selector("a.download[data-kind=glb]")
    if seen:
        wait_for_model(page, "glb")
    assert len(site.pipeline.calls) == 4 and [save["seed"] for save in site.pipeline.saves] == [42]
    assert site.pipeline.saves[0]["formats"] == ("glb", "ply", "mp4")
    assert page.locator(".variants").count() == 0 and page.locator("#history .entry").count() == 2
    assert page.input_value("#option-seed input") == "42" and page.is_checked("#keep-seed input")
    assert site.states() == [JobState.DONE] * 2
    screenshot(page, f"{name}-finished")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wait_for_theme(page, "dark" if name == "variants-dark" else "light")


def test_drafts_wait_for_later_and_cancel_stops_all(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    choose_pictures(page, pictures[0])
    site.pipeline.gate.clear()
    click(page, "#vary")
    page.wait_for_selector(".variant[data-state=running]")
    click(page, "#cancel")
    site.pipeline.gate.set()
    page.wait_for_selector(".variants", state="detached")
    page.wait_for_function("document.querySelectorAll('#history .entry[data-state=cancelled]').length === 4")
    click(page, "#vary")
    page.wait_for_function("document.querySelectorAll('.variant[data-state=done] img').length === 4")
    click(page, ".variants [data-act=later]")
    page.wait_for_selector(".variants", state="detached")
    click(page, "#history .entry:nth-child(1) [data-act=open]")
    click(page, "#entry [data-act=finish]")
    page.wait_for_selector("a.download[data-kind=glb]")
    assert len(site.pipeline.saves) == 1


def test_the_same_shape_in_new_files_at_two_clicks(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, viewport={"width": 1280, "height": 720})
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".offer [data-option=texture_size][data-value='1024'][aria-pressed=true]")
    assert not page.is_visible("#again") and page.inner_text(".cost") == ""
    screenshot(page, "offer")
    click(page, ".offer [data-value='2048']")
    page.wait_for_selector("#again", state="visible")
    assert "MB" in page.inner_text(".cost") and "about 0:0" in page.inner_text(".cost")
    before = page.inner_text(".cost")
    screenshot(page, "offer-changed")
    click(page, "#again")
    page.wait_for_selector("#again", state="hidden")
    page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 2")
    assert len(site.pipeline.calls) == 1 and [save["texture_size"] for save in site.pipeline.saves] == [1024, 2048]

    click(page, ".offer [data-value='20000']")
    click(page, ".offer [data-value=obj]")
    page.wait_for_selector(".offer [data-value=obj][aria-pressed=true]")
    assert page.inner_text(".cost") != before
    click(page, "#again")
    page.wait_for_selector("a.download[data-kind=obj]")
    last = site.pipeline.saves[-1]
    assert (last["faces"], last["texture_size"], last["formats"]) == (20000, 2048, ("glb", "obj", "ply", "mp4"))

    click(page, "#history .entry:nth-child(3) [data-act=open]")  # the first one brings its own files back
    page.wait_for_selector("#history .entry:nth-child(3)[aria-current=true]")
    page.wait_for_selector(".offer [data-value='1024'][aria-pressed=true]")
    assert page.locator(".offer [aria-pressed=true]").count() == 1 and not page.is_visible("#again")


def test_a_newcomer_needs_two_clicks_for_an_example_and_three_for_a_picture(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    """Up to a GLB on the disk; a real click each, in the size of a small laptop, without scrolling."""
    page = open_page(site.address, viewport={"width": 1280, "height": 720})
    page.locator("#examples button").first.click(no_wait_after=True)
    page.wait_for_selector(".offer [data-option]")  # comes last and moves the links: a click between is no click
    with page.expect_download() as download:
        page.locator("a.download[data-kind=glb]").click()
    assert download.value.suggested_filename == "square_0.glb"

    page = open_page(site.address, viewport={"width": 1280, "height": 720})
    with page.expect_file_chooser() as chooser:
        page.locator("#pictures button").first.click()
    chooser.value.set_files(str(pictures[1]))
    page.locator("#generate").click()
    page.wait_for_selector(".offer [data-option]")  # comes last and moves the links: a click between is no click
    with page.expect_download() as download:
        page.locator("a.download[data-kind=glb]").click()
    assert download.value.suggested_filename == "square_1.glb"
