"""axe-core finds nothing serious on any state of the page, and the page is one screen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from installer.checks import find_axe
from tests.browser.actions import choose_option, choose_pictures, click, wait_for_theme
from tests.browser.site import Site

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
AXE = os.environ.get("TRELLIS_TEST_AXE") or find_axe(ROOT)
FINDINGS = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .filter((found) => ["serious", "critical"].includes(found.impact))
    .map((found) => [found.id, ...found.nodes.map((node) => node.html.slice(0, 200))])"""
SETTLED = "!document.getAnimations().some((animation) => animation instanceof CSSTransition)"  # colours fade over
IN_VIEW = """selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.width > 0 && box.height > 0 && box.top >= 0 && box.left >= 0
    && box.bottom <= innerHeight && box.right <= innerWidth;
}"""


def findings(page: Page) -> list[str]:
    """What is wrong with the page as it is, in light and in dark."""
    found = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        wait_for_theme(page, theme)
        page.wait_for_function(SETTLED)
        found += page.evaluate(FINDINGS)
    return found


@pytest.mark.skipif(AXE is None, reason="needs axe-core (see `run.sh test`)")
def test_nothing_serious_is_found(site: Site, pictures: list[Path], open_page: Callable[..., Page]) -> None:
    page = open_page(site.address, webgl=True, bypass_csp=True)
    page.wait_for_selector("#examples button")
    page.add_script_tag(path=str(AXE))
    assert findings(page) == []
    for part in ("#setup button", "#settings button", "#file-settings button", "#model-chip"):
        click(page, part)
    page.wait_for_selector("#option-formats input")
    assert findings(page) == []
    site.pipeline.gate.clear()
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".job")
    assert findings(page) == []
    site.pipeline.gate.set()
    page.wait_for_selector(".job[data-state=done]")
    page.wait_for_selector("#history .entry")
    assert findings(page) == []
    click(page, "#edit-toggle")
    click(page, "#edit-operation input[value=part]")
    click(page, "#edit-region [data-part=add]")
    click(page, "#edit-own button")
    page.wait_for_selector("#edit-mesh")
    assert findings(page) == []
    click(page, "#edit-toggle")
    click(page, "#new-files button[data-value='4096']")
    page.wait_for_selector("#again", state="visible")
    click(page, "#vary")
    page.wait_for_selector(".variant[data-state=done] img")
    assert findings(page) == []


def test_inputs_button_progress_and_model_are_in_view_together(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    page.wait_for_selector("#history .entry")
    click(page, "#file-settings button")  # what is long scrolls by itself
    for width, height in ((1280, 720), (1440, 900), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        for part in (
            "#model-chip",
            "#generate",
            "#cancel",
            "#progress .job",
            ".tv-pane",
            "a[data-kind=glb]",
            "#history",
        ):
            page.wait_for_function(IN_VIEW, arg=part)
        assert page.evaluate("[scrollX, scrollY, document.documentElement.scrollHeight <= innerHeight]") == [0, 0, True]
        assert page.evaluate("document.querySelector('.tv-pane').clientHeight > innerHeight / 2")


def test_a_list_closes_when_the_keyboard_goes_on(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    click(page, "#model-chip")
    page.focus("#option-quality input")
    page.wait_for_selector("[role=listbox]")
    page.keyboard.press("Tab")
    page.wait_for_selector("[role=listbox]", state="detached")
    assert page.evaluate("document.querySelector('#side').classList.contains('models-open')")
    choose_option(page, "#option-quality", "draft")
    page.wait_for_selector("[role=listbox]", state="detached")
    assert page.input_value("#option-quality input") == "draft"


def test_scroll_bars_are_dark_in_the_dark(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    page.emulate_media(color_scheme="light")
    for theme, scheme in (("light", "normal"), ("dark", "dark")):
        wait_for_theme(page, theme)
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme
        click(page, "#theme button")


def test_the_progress_leaves_the_first_look_in_view(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address, viewport={"width": 1280, "height": 720})
    site.pipeline.writing.clear()
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector("#draft img")
    page.wait_for_selector("#progress .job[data-state=running] .job-bar")
    assert page.evaluate("document.querySelector('#progress').offsetHeight") < 60


def test_on_a_phone_the_pane_follows_the_button(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate(
        "document.querySelector('.tv-pane').getBoundingClientRect().top"
        " >= document.querySelector('#inputs').getBoundingClientRect().bottom"
    )
    assert page.evaluate(IN_VIEW, "#generate") and page.evaluate("scrollY") == 0
    site.pipeline.gate.clear()
    choose_pictures(page, pictures[0])
    assert page.evaluate("scrollY") == 0
    click(page, "#generate")
    page.wait_for_selector("#progress .job[data-state=running]")
    page.wait_for_function(IN_VIEW, arg="#progress .job")
