"""Light and dark, wide and narrow."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click, wait_for_model
from tests.browser.site import Site

pytestmark = pytest.mark.browser
BRIGHTEST = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number))"


def wait_for_theme(page: Page, theme: str) -> None:
    """Wait until the page is light or dark, and its button says so."""
    page.wait_for_function(f"dark => ({BRIGHTEST} < 60) === dark", arg=theme == "dark")
    page.wait_for_selector(f"#theme button[aria-pressed={str(theme == 'dark').lower()}]")


def test_light_or_dark_is_the_system_s_until_it_is_chosen_and_then_remembered(
    site: Site, open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address, color_scheme="light")
    wait_for_theme(page, "light")
    page.focus("#theme button")
    page.keyboard.press("Enter")
    wait_for_theme(page, "dark")
    page.reload()
    wait_for_theme(page, "dark")
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")  # what the system does counts no more
    wait_for_theme(page, "dark")
    page.press("#theme button", "Space")  # back at the system's own, which is followed again
    wait_for_theme(page, "light")
    assert page.evaluate("localStorage.getItem('trellis-theme')") is None
    page.emulate_media(color_scheme="dark")
    wait_for_theme(page, "dark")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}),
    ],
)
def test_it_fits_other_screens(
    site: Site,
    pictures: list[Path],
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], bytes],
    name: str,
    options: dict[str, object],
) -> None:
    page = open_page(site.address, **options)
    choose_pictures(page, pictures[1])
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    wait_for_model(page, "glb")
    screenshot(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wait_for_theme(page, "dark" if name == "dark" else "light")
