"""Edits from the page: the drawer, boxes, the view to paint over, versions, before and after."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click, viewer_pixels, wait_while
from tests.browser.site import Site
from trellis.app.request import EditRequest
from trellis.conditioning.view import PictureView

pytestmark = pytest.mark.browser
BOUNDS = "document.querySelector('.viewer').viewer.box"
DRAWN = "document.querySelector('#edit-region').drawn()"


@pytest.fixture
def page(site: Site, pictures: list[Path], open_page: Callable[..., Page]) -> Page:
    """A page with a model and an open drawer."""
    page = open_page(site.address, webgl=True, viewport={"width": 1280, "height": 720})
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".tv-pane[data-kind=glb][data-state=ready]")
    page.wait_for_selector("#cancel[disabled]")
    click(page, "#edit-toggle")
    page.wait_for_selector("#edit-make", state="visible")
    return page


def mean_box(page: Page) -> Any:
    page.wait_for_selector(".edit-boxes li")
    return np.asarray(page.evaluate(DRAWN)["box"])


def test_a_region_is_numbers_handles_keys_and_a_click_and_its_view_is_painted_over(
    page: Page, tmp_path: Path, screenshot: Callable[[Page, str], bytes]
) -> None:
    assert page.get_attribute("#edit-toggle", "aria-expanded") == "true"
    plain = viewer_pixels(page)
    click(page, "#edit-operation input[value=part]")
    [box] = mean_box(page)
    assert (box[0] < box[1]).all() and box[0][1] > 0  # the upper part, from above the middle on
    wait_while(page, lambda: bool(np.abs(viewer_pixels(page) - plain).mean() < 0.5))  # it is drawn
    screenshot(page, "edit-region")
    page.focus(".edit-boxes li input >> nth=1")
    page.keyboard.press("ArrowUp")
    assert 0 < mean_box(page)[0][0][1] - box[0][1] <= 0.01  # to the next hundredth
    click(page, "#edit-region [data-part=add]")
    assert len(mean_box(page)) == 2 and page.locator(".edit-boxes li[data-chosen]").count() == 1
    click(page, "#edit-region [data-part=remove]")
    assert len(mean_box(page)) == 1 and page.is_disabled("#edit-region [data-part=remove]")
    tinted = viewer_pixels(page)
    area, (rows, columns) = page.locator(".tv-view").bounding_box(), np.nonzero(np.ptp(plain, axis=-1) > 60)
    assert area is not None
    column = columns[len(columns) // 2]
    place = area["x"] + 10 + int(column), area["y"] + 56 + int(rows[columns == column][-1]) - 4
    page.mouse.click(*place)  # all is one piece: a ball about the place
    page.wait_for_selector(".edit-boxes [aria-label=radius]")
    radius = float(page.input_value(".edit-boxes [aria-label=radius]"))
    ball = mean_box(page)
    widths = np.ptp(ball, axis=1)
    assert np.ptp(ball.reshape(-1, 3), axis=0)[1] == pytest.approx(2 * radius, abs=1e-3)
    assert widths.prod(axis=1).sum() > 0.8 * 4 / 3 * np.pi * radius**3 and widths.max() <= 2 * radius + 1e-3
    page.mouse.wheel(0, -100)
    page.wait_for_function("from => document.querySelector('.edit-boxes [aria-label=radius]').value > from", arg=radius)
    page.keyboard.down("Shift")
    page.mouse.click(*place)
    page.keyboard.up("Shift")
    page.wait_for_function("document.querySelectorAll('.edit-boxes [aria-label=radius]').length === 2")
    assert len(mean_box(page)) == 2 * len(ball) <= 32
    wait_while(page, lambda: bool(np.abs(viewer_pixels(page) - tinted).mean() < 0.5))
    click(page, "#edit-operation input[value=retexture]")
    page.wait_for_selector(".edit-region", state="hidden")
    wait_while(page, lambda: bool(np.abs(viewer_pixels(page) - plain).mean() > 0.5))
    check_view(page, tmp_path)
    check_own_mesh(page, tmp_path)


def check_own_mesh(page: Page, tmp_path: Path) -> None:
    """A mesh of one's own is shown, a box lies on it, and the model comes back when it goes."""
    before = page.evaluate(BOUNDS)
    far = trimesh.creation.box([200, 100, 100]).apply_translation([5000, 0, 0])
    far.export(tmp_path / "far.glb")
    click(page, "#edit-own button")
    (tmp_path / "bad.glb").write_bytes(b"no such thing")
    page.set_input_files("#edit-mesh input[type=file]", str(tmp_path / "bad.glb"))
    page.wait_for_selector("#progress .job[data-state=failed]")
    told = page.inner_text("#progress")
    assert told.startswith("bad.glb is not a usable glTF file") and "column" not in told
    page.locator("#edit-mesh button[aria-label=Clear]").click()
    page.set_input_files("#edit-mesh input[type=file]", str(tmp_path / "far.glb"))
    page.wait_for_function(f"{BOUNDS}?.[0][0] === 4900")
    page.wait_for_function(f"{DRAWN}.box[0][0][0] > 4800")
    page.locator("#edit-mesh button[aria-label=Clear]").click()
    page.wait_for_function(f"before => {BOUNDS}?.[0][0] === before", arg=before[0][0])


def check_view(page: Page, tmp_path: Path) -> None:
    """The view that is painted over is where the model is."""
    click(page, "#edit-operation input[value=part]")
    with page.expect_download() as download:
        click(page, "#edit-region [data-part=edit-view]")
    download.value.save_as(tmp_path / "view.png")
    picture = np.asarray(Image.open(tmp_path / "view.png"))
    assert picture.shape == (1024, 1024, 4) and 0.05 < (picture[..., 3] > 204).mean() < 0.6
    assert (picture[..., 3] == 0).mean() > 0.3  # no box and no handles are in it
    page.wait_for_selector("#edit-region [data-part=view]", state="visible")
    view = PictureView.from_dict(page.evaluate(DRAWN)["view"])
    assert view.size == (1024, 1024) and view.camera is not None
    rows, columns = np.nonzero(picture[..., 3] > 204)
    left, top, right, bottom = view.box
    assert left < columns.min() and columns.max() < right and top < rows.min() and rows.max() < bottom
    # The corners of the model's bounds are seen by that camera where the picture has it.
    eight = np.stack(np.meshgrid([-0.438, 0.438], [-0.198, 0.198], [-0.459, 0.459]), -1).reshape(-1, 3)
    inside = np.c_[eight, np.ones(8)] @ view.camera.extrinsics[0].numpy().T
    seen = inside[:, :3] @ view.camera.intrinsics[0].numpy().T
    seen = seen[:, :2] / seen[:, 2:] * (right - left) + [left, top]
    assert (inside[:, 2] > 0).all()
    assert seen.min(axis=0) == pytest.approx([columns.min(), rows.min()], abs=160)
    assert seen.max(axis=0) == pytest.approx([columns.max(), rows.max()], abs=160)
    click(page, "#edit-region [data-part=forget]")
    assert page.evaluate(DRAWN)["view"] is None


def test_a_variant_is_a_version_with_before_and_after_undo_and_redo(
    page: Page, site: Site, pictures: list[Path], screenshot: Callable[[Page, str], bytes]
) -> None:
    click(page, "#edit-make")
    page.wait_for_selector("#progress :text('Choose a picture of what it is to look like')")
    click(page, "#edit-operation input[value=variant]")
    page.set_input_files("#edit-pictures input[type=file]", str(pictures[1]))
    page.wait_for_selector("#edit-pictures .thumbnail-item")
    click(page, "#edit-make")
    page.wait_for_selector(".versions")
    first, second = sorted(site.engine.views(), key=lambda job: job.created)
    assert second.source == first.id and second.request.operation == "variant"
    assert "Variant" in page.inner_text(".versions") and page.locator(".versions li").count() == 2
    page.wait_for_selector("[data-action=before]:not([hidden])")
    click(page, "[data-action=before]")
    page.wait_for_selector(".tv-before input", state="visible")
    screenshot(page, "edit-before-after")
    click(page, "[data-action=before]")
    page.locator(".versions :text('Undo')").evaluate("button => button.click()")
    page.wait_for_selector(f".entry-details[data-job='{first.id}'] .versions :text('Redo')")
    page.reload()
    click(page, "#history .entry:nth-child(2) [data-act=open]")
    page.locator(".versions :text('Redo')").evaluate("button => button.click()")
    page.wait_for_selector(f".entry-details[data-job='{second.id}'] .versions :text('Undo')")


def test_what_is_drawn_is_what_is_asked_for(page: Page, site: Site, pictures: list[Path], tmp_path: Path) -> None:
    click(page, "#edit-operation input[value=remove]")
    box = json.loads(json.dumps(mean_box(page).tolist()))
    assert not page.is_visible("#edit-pictures")
    click(page, "#edit-make")
    page.wait_for_function("document.querySelectorAll('#history .entry').length === 2")
    request = max(site.engine.views(), key=lambda job: job.created).request
    assert isinstance(request, EditRequest) and request.remove and request.view is None
    assert [[list(corner) for corner in pair] for pair in request.box or ()] == box
    page.wait_for_selector("#progress :text('Outside: 0 voxels changed, pictures agree to 46 dB')")
    assert [[*low, *high] for low, high in box] == [[*b.low, *b.high] for b in site.pipeline.calls[-1]["region"]]

    click(page, "#edit-operation input[value=part]")
    with page.expect_download():
        click(page, "#edit-region [data-part=edit-view]")
    page.wait_for_selector("#edit-region [data-part=view]", state="visible")
    painted = tmp_path / "view.png"  # of the size of the view: another is refused
    Image.open(pictures[1]).resize((1024, 1024)).save(painted)
    page.set_input_files("#edit-pictures input[type=file]", str(painted))
    page.wait_for_selector("#edit-pictures .thumbnail-item")
    click(page, "#edit-make")
    page.wait_for_function("document.querySelectorAll('#history .entry[data-state=done]').length === 3")
    assert site.pipeline.calls[-1]["view"].size == (1024, 1024) and site.pipeline.calls[-1]["sizes"] == [(1024, 1024)]


def test_without_webgl_boxes_are_numbers(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    click(page, "#edit-toggle")
    click(page, "#edit-operation input[value=remove]")
    [box] = mean_box(page)
    click(page, "#edit-region [data-part=add]")
    assert mean_box(page).tolist()[0] == box.tolist() and len(mean_box(page)) == 2
