"""A model whose licence is accepted with a tick before it is fetched; then its own options are shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.actions import choose_option, choose_pictures, click
from tests.browser.serving import served
from tests.browser.site import Site
from tests.unit.app.process_fakes import empty_host
from trellis.app.model_choices import ModelChoice
from trellis.app.presets import PRESETS
from trellis.app.request import GenerationRequest
from trellis.families.hunyuan_family import LICENCE
from trellis.families.licences import accepted_on
from trellis.runtime import ModelFiles, Runtime

pytestmark = pytest.mark.browser
NAME = "Hunyuan3D-2mini-turbo"
BUTTON = f"#models button[data-model='{NAME}']"
TICK = f"#models li:has({BUTTON[8:]}) input[type=checkbox]"
TAKES = ("surface_resolution", "texture_model")
MODELS = (
    ModelChoice("nano", "nano (demo)", kinds=("chair", "mug"), licence="MIT"),
    ModelChoice(
        NAME,
        f"{NAME} · 4.2 GB to fetch",
        fetch_bytes=4_200_000_000,
        licence=LICENCE.title,
        options=TAKES,
        presets="hunyuan-mini-turbo",
    ),
)


def test_it_is_ticked_fetched_chosen_and_used(
    tmp_path: Path,
    pictures: list[Path],
    open_page: Callable[..., Page],
    screenshot: Callable[[Page, str], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: list[str] = []

    def fetch(name: str, *, runtime: Any, progress: Any) -> None:
        assert accepted_on(LICENCE, files) is not None
        fetched.append(name)

    monkeypatch.setattr("trellis.app.model_fetch.get_model", fetch)
    files = ModelFiles(model_folder=tmp_path / "models")
    site = Site(tmp_path / "jobs", pictures, MODELS, files)
    site.pipeline.options = TAKES
    site.pipeline.runtime = Runtime(model_folder=files.model_folder)
    site.pipeline.host = empty_host(PRESETS["balanced"].plan)
    with served(site.app) as address:
        page = open_page(address, viewport={"width": 1280, "height": 720})
        assert not page.is_visible("#shape-settings") and page.query_selector("table.presets") is None
        click(page, "#model-chip")
        page.wait_for_selector("#models .terms")
        assert page.locator("#models .terms li").all_inner_texts() == list(LICENCE.terms)
        assert page.is_disabled(BUTTON) and page.inner_text(BUTTON) == "Fetch"
        screenshot(page, "licence_light")
        click(page, TICK)
        assert page.is_enabled(BUTTON) and accepted_on(LICENCE, files) is None  # the button does it, not the tick
        click(page, BUTTON)
        page.wait_for_selector(f"#model-chip:has-text('{NAME}')")
        assert fetched == [NAME] and page.query_selector("#models .terms") is None

        click(page, "#model-chip")
        for group in ("#setup", "#settings"):
            click(page, f"{group} > button")
        page.wait_for_selector("#shape-settings #option-surface_resolution")
        assert not page.is_visible("#option-views")
        rows = page.locator("table.presets tbody tr").all_inner_texts()
        assert len(rows) == 5 and rows[0].split("\t")[:3] == ["fastest", "5 GB", "340 s, 7.5 GB"]
        choose_option(page, "#option-preset", "prototype")
        page.wait_for_function("document.querySelector('#option-structure_steps input').value === '3'")
        assert page.input_value("#option-surface_resolution input") == "128"
        choose_option(page, "#option-texture_model", "none")
        click(page, "#theme button")
        page.locator("#presets").scroll_into_view_if_needed()
        screenshot(page, "presets_dark")
        choose_pictures(page, pictures[0])
        asked, submit = list[GenerationRequest](), site.engine.submit

        def heard(request: GenerationRequest, *rest: Any, **others: Any) -> str:
            asked.append(request)
            return submit(request, *rest, **others)

        monkeypatch.setattr(site.engine, "submit", heard)
        click(page, "#generate")
        page.wait_for_selector(".job[data-state=done]")
        assert [job.model for job in site.engine.views()] == [NAME]
        stated = asked[0].stated
        assert (stated["preset"], stated["texture_model"]) == ("prototype", "none") and "structure_steps" not in stated
        site.engine.close()
