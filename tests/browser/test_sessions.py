"""Several people, later visits, other languages, the keyboard, and the choices of model and memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_option, choose_pictures, click, wait_for_model
from tests.browser.serving import served
from tests.browser.site import Site
from trellis.app.jobs import JobState
from trellis.app.model_choices import ModelChoice

pytestmark = pytest.mark.browser
TALL = {"width": 1280, "height": 1300}
STATUS = "async address => (await fetch(address)).status"
# What a field shows, whatever its `value` says.
SHOWN = """selector => Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")
    .get.call(document.querySelector(selector))"""
FOCUSED = "document.activeElement.closest('[id]:not([id^=html-])')?.id ?? ''"
OUTLINED = """(() => {
  const style = getComputedStyle(document.activeElement), own = parseFloat(style.outlineWidth) >= 2;
  const outside = document.activeElement === document.body;  // the browser's own bar has the focus
  return outside || (document.activeElement.matches(":focus-visible") && own && style.outlineStyle !== "none");
})()"""
FITS = """selector => {
  const button = document.querySelector(selector), words = document.createRange();
  words.selectNodeContents(button);
  const inside = button.getBoundingClientRect(), needed = words.getBoundingClientRect();
  return needed.width > 0 && inside.left <= needed.left && needed.right <= inside.right;
}"""
MODELS = (
    ModelChoice("nano", "nano (demo)", kinds=("chair", "mug"), licence="MIT"),
    ModelChoice("owner/large", "large"),
    ModelChoice("owner/text", "text", takes_text=True),
)


def generate(page: Page, picture: Path) -> None:
    choose_pictures(page, picture)
    click(page, "#generate")


def test_two_people_at_once_do_not_see_each_others_files(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    first, second = open_page(site.address), open_page(site.address)
    for part in ("#prompt", "#generate-text"):
        assert first.query_selector(part) is None  # no model takes text
    site.pipeline.gate.clear()
    generate(first, pictures[0])
    first.wait_for_selector(".job")
    generate(second, pictures[1])
    second.wait_for_selector(".job")
    site.pipeline.gate.set()
    for page in (first, second):
        page.wait_for_selector(".job[data-state=done]")
        page.wait_for_selector("#history .entry")
        assert page.locator("#history .entry").count() == 1
    links = [page.get_attribute("a[data-kind=glb]", "href") for page in (first, second)]
    assert links[0] != links[1]
    names = [page.get_attribute("a[data-kind=glb]", "download") for page in (first, second)]
    assert names == ["square_0.glb", "square_1.glb"]
    for page, own, other in ((first, *links), (second, *reversed(links))):
        assert page.evaluate(STATUS, own) == 200 and page.evaluate(STATUS, other) == 404
        bundle = other.rsplit("/", 1)[0] + "/bundle/all.zip"
        assert page.evaluate(STATUS, bundle) == 404


def test_past_models_are_there_after_a_restart_and_can_be_deleted(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, viewport=TALL)
    for count, picture in enumerate(pictures[:2], start=1):
        click(page, "#pictures button[aria-label=Clear]") if count > 1 else None
        generate(page, picture)
        page.wait_for_function(
            "count => document.querySelectorAll('#history .entry[data-state=done]').length === count", arg=count
        )
    site.engine.close()
    page.close()

    later = Site(site.folder, pictures)
    with served(later.app) as address:
        page = open_page(address, webgl=True, viewport=TALL)
        page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 2")
        click(page, "#history .entry:nth-child(2) [data-act=open]")  # the older one
        wait_for_model(page, "glb")
        screenshot(page, "history")
        assert page.get_attribute("a[data-kind=glb]", "download") == "square_0.glb"
        click(page, ".offer [data-value='2048']")
        page.wait_for_selector("#again", state="visible")
        click(page, "#again")
        page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 3")
        assert not later.pipeline.calls and len(later.pipeline.saves) == 1
        click(page, "#entry [data-act=delete]")
        page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 2")
        page.wait_for_selector("a.download", state="detached")
        later.engine.close()


@pytest.mark.parametrize(
    ("locale", "generate_text", "quality", "unset", "standard", "done"),
    [
        ("ko-KR", "생성", "품질", "아래 설정대로", "표준", "완료"),
        ("zh-CN", "生成", "质量", "按下方设置", "标准", "完成"),
        ("fr-FR", "Generate", "Quality", "as the single options say", "standard", "Done"),
    ],
)
def test_labels_follow_the_language_of_the_browser(
    site: Site,
    pictures: list[Path],
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], bytes],
    locale: str,
    generate_text: str,
    quality: str,
    unset: str,
    standard: str,
    done: str,
) -> None:
    page = open_page(site.address, locale=locale)
    page.wait_for_function("text => document.querySelector('#generate').innerText === text", arg=generate_text)
    assert quality in page.inner_text("#option-quality")
    assert page.evaluate(SHOWN, "#option-quality input") == unset
    page.click("#option-quality input")
    page.click("#option-quality [role=option] >> nth=2")
    page.wait_for_function(f"text => ({SHOWN})('#option-quality input') === text", arg=standard)
    generate(page, pictures[0])
    page.wait_for_selector(".job[data-state=done]")
    assert done in page.inner_text("#progress")
    screenshot(page, f"language-{locale[:2]}")
    page.wait_for_function("text => document.querySelector('#generate').innerText === text", arg=generate_text)


def test_a_model_can_be_made_with_the_keyboard(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
        assert page.evaluate(OUTLINED), reached  # where the focus is can be seen
        if reached[-1] == "examples":
            break
    assert reached[-1] == "examples" and "pictures" in reached, reached
    page.keyboard.press("Enter")
    page.wait_for_selector(".job[data-state=done]")
    assert site.states() == [JobState.DONE]
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
        assert page.evaluate(OUTLINED), reached
    assert {"model-chip", "option-seed", "keep-seed", "generate", "results", "history"} <= set(reached), reached


def test_model_memory_and_quality_reach_the_engine(
    tmp_path: Path, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    site = Site(tmp_path / "jobs", pictures, MODELS)
    with served(site.app) as address:
        page = open_page(address, viewport={"width": 1280, "height": 1700})
        choose_pictures(page, pictures[0])
        page.locator("#option-quality input").click()
        page.locator("#option-quality [role=option]:has-text('standard')").click()
        click(page, "#setup button")
        click(page, "#file-settings button")
        page.wait_for_function("document.querySelector('#option-faces input')?.value === '500000'")
        click(page, "#models button[data-model='owner/large']")
        page.wait_for_selector("#model-chip:has-text('large')")
        for field, text in (("#option-preset", "minimal"), ("#option-precision", "half")):
            choose_option(page, field, text)
        screenshot(page, "settings")
        click(page, "#generate")
        page.wait_for_selector(".job[data-state=done]")
        assert site.setups == [{"model": "owner/large", "preset": "minimal", "precision": "half"}]
        save = site.pipeline.saves[0]
        assert (save["faces"], save["preview_size"]) == (500000, 256)

        page.locator("#sources button[role=tab]:has-text('Text')").click()
        page.wait_for_selector("#generate", state="hidden")
        assert not page.is_visible("#model-chip")
        page.fill("#prompt textarea", "A small red teapot")
        assert page.evaluate(FITS, "#generate-text")
        click(page, "#generate-text")
        page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 2")
        assert site.pipeline.calls[1]["prompt"] == "A small red teapot" and site.setups[1]["model"] == "owner/text"
        assert page.get_attribute("a[data-kind=glb]", "download") == "A_small_red_teapot.glb"
        screenshot(page, "text")
        site.engine.close()
