"""Light and dark."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.actions import wait_for_theme
from tests.browser.site import Site

pytestmark = pytest.mark.browser


def test_light_or_dark_is_the_system_s_until_it_is_chosen_and_then_remembered(
    site: Site, open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    wait_for_theme(page, "light")  # what Playwright's system is
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
