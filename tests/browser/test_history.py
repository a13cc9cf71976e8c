"""Jobs belong to the person: found again by a page that opens, waiting together, tried again, renamed, deleted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click, wait_for_model
from tests.browser.serving import served
from tests.browser.site import Site
from trellis.app.jobs import JobState

pytestmark = pytest.mark.browser
TALL = {"width": 1280, "height": 1500}


def generate(page: Page, picture: Path) -> None:
    choose_pictures(page, picture)
    click(page, "#generate")


def choose_other(page: Page, picture: Path) -> None:
    click(page, "#pictures button[aria-label=Clear]")
    page.wait_for_selector("#cutouts .cutouts", state="detached")
    choose_pictures(page, picture)


def open_settings(page: Page) -> None:
    for group, field in (("settings", "latent_steps"), ("file-settings", "normal_map")):
        click(page, f"#{group} button")
        page.wait_for_selector(f"#option-{field} input")


def wait_for_entries(page: Page, *states: str) -> None:
    """Wait until the history has jobs in these states, the newest first."""
    page.wait_for_function(
        "wanted => [...document.querySelectorAll('#history .entry')].map(e => e.dataset.state).join() === wanted",
        arg=",".join(states),
    )


def value(page: Page, option: str) -> str:
    return page.input_value(f"#option-{option} input >> nth=0")


def wait_for_value(page: Page, option: str, wanted: str) -> None:
    page.wait_for_function(
        "([name, wanted]) => document.querySelector(`#option-${name} input`)?.value === wanted", arg=[option, wanted]
    )


def test_a_page_that_is_opened_again_finds_the_job_with_all_that_was_asked(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, viewport=TALL)
    site.pipeline.writing.clear()  # held after the draft
    open_settings(page)
    page.fill("#option-latent_steps input", "7")
    generate(page, pictures[0])
    page.wait_for_selector(".draft")
    page.reload()
    page.wait_for_selector(".job[data-state=running]")
    page.wait_for_selector(".draft")
    page.wait_for_selector("#cutouts .cutouts[data-state=ready] img")
    open_settings(page)
    wait_for_value(page, "latent_steps", "7")
    assert site.states() == [JobState.RUNNING]
    wait_for_entries(page, "running")
    screenshot(page, "history-reload")

    other = page.context.new_page()  # of the same person
    other.goto(site.address)
    other.wait_for_selector(".job[data-state=running]")
    page.close()
    other.wait_for_timeout(1000)
    assert site.states() == [JobState.RUNNING]
    site.pipeline.writing.set()
    other.wait_for_selector(".job[data-state=done]")
    assert other.get_attribute("a[data-kind=glb]", "download") == "square_0.glb"
    assert len(site.pipeline.calls) == 1


def test_jobs_wait_from_one_page_and_each_can_be_cancelled(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, viewport=TALL)
    site.pipeline.gate.clear()
    generate(page, pictures[0])
    wait_for_entries(page, "running")
    for count, picture in enumerate(pictures[1:], start=1):
        choose_other(page, picture)
        click(page, "#generate")
        wait_for_entries(page, *["queued"] * count, "running")
    screenshot(page, "history-waiting")
    click(page, "#history .entry:nth-child(1) [data-act=cancel]")
    wait_for_entries(page, "cancelled", "queued", "running")
    site.pipeline.gate.set()
    wait_for_entries(page, "cancelled", "done", "done")
    page.wait_for_selector("#cancel[disabled]")
    assert page.get_attribute("a[data-kind=glb]", "download") == "square_1.glb"
    click(page, "#history .entry:nth-child(1) [data-act=retry]")
    wait_for_entries(page, "done", "cancelled", "done", "done")
    page.wait_for_selector("a[data-kind=glb][download='square_2.glb']")
    screenshot(page, "history-states")


def test_after_a_restart_the_interrupted_job_is_shown_and_the_waiting_one_goes_on(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address)
    site.pipeline.gate.clear()
    generate(page, pictures[0])
    wait_for_entries(page, "running")
    choose_other(page, pictures[1])
    click(page, "#generate")
    wait_for_entries(page, "queued", "running")
    page.close()
    records = {path: path.read_text() for path in site.folder.glob("*/re*.json")}
    site.pipeline.gate.set()
    site.engine.close()
    for path, text in records.items():  # as a server that is killed leaves them
        path.write_text(text)

    later = Site(site.folder, pictures)
    later.pipeline.gate.clear()
    with served(later.app) as address:
        page = open_page(address, viewport=TALL)
        page.wait_for_selector(".job[data-state=running]")
        wait_for_entries(page, "running", "failed")
        later.pipeline.gate.set()
        page.wait_for_selector("a[data-kind=glb][download='square_1.glb']")
        assert "Interrupted" in page.inner_text("#history .entry:nth-child(2)")
        screenshot(page, "history-interrupted")
        click(page, "#history .entry:nth-child(2) [data-act=retry]")
        page.wait_for_selector("a[data-kind=glb][download='square_0.glb']")
        wait_for_entries(page, "done", "done", "failed")
        later.engine.close()


def test_an_interrupted_job_is_what_a_page_opens_with(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    site.pipeline.gate.clear()
    generate(page, pictures[0])
    wait_for_entries(page, "running")
    page.close()
    records = {path: path.read_text() for path in site.folder.glob("*/re*.json")}
    site.pipeline.gate.set()
    site.engine.close()
    for path, text in records.items():
        path.write_text(text)
    later = Site(site.folder, pictures)
    with served(later.app) as address:
        page = open_page(address)
        page.wait_for_selector("#progress :text('The program ended before this job')")
        page.wait_for_selector("#cutouts .cutouts[data-state=ready] img")
        click(page, "#entry [data-act=retry]")
        page.wait_for_selector(".job[data-state=done]")
        later.engine.close()


def test_an_entry_brings_the_whole_question_back(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, viewport=TALL)
    open_settings(page)
    page.fill("#option-latent_steps input", "7")
    click(page, "#option-normal_map input")
    generate(page, pictures[0])
    page.wait_for_selector(".job[data-state=done]")
    seed = value(page, "seed")
    page.fill("#option-latent_steps input", "9")
    click(page, "#option-normal_map input")
    choose_other(page, pictures[1])
    site.pipeline.fault = MemoryError()
    click(page, "#generate")
    wait_for_entries(page, "failed", "done")

    click(page, "#history .entry:nth-child(2) [data-act=open]")
    wait_for_value(page, "latent_steps", "7")
    page.wait_for_selector("a[data-kind=glb][download='square_0.glb']")
    page.wait_for_selector("#pictures img[src*=square_0]")
    wait_for_value(page, "seed", seed)
    assert page.is_checked("#option-normal_map input")
    details = page.inner_text("#entry")
    assert "Done" in details and "Detail steps 7" in details and f"Seed {seed}" in details and "0:" in details
    screenshot(page, "history-entry")
    site.pipeline.fault = None
    shown = page.get_attribute("#progress .job", "data-job")
    click(page, "#generate")
    wait_for_entries(page, "done", "failed", "done")
    page.wait_for_selector(f"#progress .job[data-state=done]:not([data-job='{shown}'])")
    assert site.pipeline.calls[0] == site.pipeline.calls[-1]

    click(page, "#history .entry:nth-child(2) [data-act=open]")
    page.wait_for_function("document.querySelector('#option-latent_steps input').value === '9'")
    page.wait_for_selector("#progress :text('There was not enough memory')")
    assert page.query_selector("a.download") is None and not page.is_checked("#option-normal_map input")


def test_rename_compare_delete_and_undo(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, webgl=True, viewport=TALL)
    generate(page, pictures[0])
    page.wait_for_selector(".job[data-state=done]")
    choose_other(page, pictures[1])
    click(page, "#generate")
    wait_for_entries(page, "done", "done")
    page.wait_for_selector("a[download='square_1.glb']")

    page.fill("#entry input", "A blue <cup>")
    page.press("#entry input", "Enter")
    page.wait_for_selector("a[download='A blue <cup>.glb']")
    assert "A blue <cup>" in page.inner_text("#history .entry:nth-child(1)")

    click(page, "#entry [data-act=compare]")
    page.wait_for_selector("#entry :text('Choose the other model')")
    click(page, "#history .entry:nth-child(2) [data-act=open]")
    page.wait_for_selector("#entry .comparison figure:nth-child(2)")
    assert page.locator("#entry figcaption").all_inner_texts() == ["A blue <cup>", "square_0"]
    assert "Seed" in page.inner_text("#entry table") and "Texture size" not in page.inner_text("#entry table")
    screenshot(page, "history-compare")
    click(page, "#entry [data-act=stop]")

    click(page, "#entry [data-act=delete]")
    wait_for_entries(page, "done")
    page.wait_for_selector("a.download", state="detached")
    assert len(site.job_folders) == 2
    click(page, "#entry [data-act=undo]")
    wait_for_entries(page, "done", "done")
    page.wait_for_selector("a[download='A blue <cup>.glb']")
    wait_for_model(page, "glb")
