"""The page in Chromium over a fake pipeline that writes real files: flows, faults, looks, and no outside request."""

import base64
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Page

from tests.browser.actions import choose_pictures, click, wait_for_model
from tests.browser.site import COLORS, Site
from trellis.app.jobs import JobState

pytestmark = pytest.mark.browser
PASTE = """text => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def test_a_picture_becomes_a_model_to_see_and_download(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, webgl=True)
    screenshot(page, "empty")
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=running] ol")  # one stage is behind us
    assert not page.is_disabled("#generate") and not page.is_disabled("#cancel")  # another may wait
    screenshot(page, "generating")

    page.wait_for_selector(".job[data-state=done]")
    click(page, "#progress .job-notes summary")
    assert "without a network" in page.inner_text("#progress")
    mesh = wait_for_model(page, "glb")
    screenshot(page, "result")
    click(page, "[data-mode=gaussians]")
    splats = wait_for_model(page, "ply", unlike=mesh)
    assert top_is_orange(mesh) and top_is_orange(splats)  # both stand upright

    page.wait_for_function("document.querySelector('video.preview').readyState >= 2")
    with page.expect_download() as download:
        click(page, "a[data-kind=glb]")
    assert download.value.suggested_filename == "square_0.glb"
    assert len(trimesh.load(download.value.path(), file_type="glb", force="mesh").faces) == 160 * 16 * 2
    with page.expect_download() as download:
        click(page, "a[data-kind=ply]")
    assert Path(download.value.path()).read_bytes().startswith(b"ply\n")
    assert page.is_disabled("#cancel") and not page.is_disabled("#generate")


def top_is_orange(pixels: np.ndarray) -> bool:
    """Whether the coloured pixels are redder than blue above and bluer than red below."""
    colored = pixels.max(axis=-1) - pixels.min(axis=-1) > 60
    rows = np.flatnonzero(colored.any(axis=1))
    fifth = (rows[-1] - rows[0]) // 5
    top = pixels[rows[0] : rows[0] + fifth][colored[rows[0] : rows[0] + fifth]].mean(axis=0)
    bottom = pixels[rows[-1] - fifth : rows[-1]][colored[rows[-1] - fifth : rows[-1]]].mean(axis=0)
    return bool(top[0] > top[2] + 40 and bottom[2] > bottom[0] + 40)


def test_settings_reach_the_pipeline_and_the_seed_can_be_kept(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    choose_pictures(page, pictures[0])
    click(page, "#settings button")
    page.wait_for_selector("#option-latent_steps input")
    page.wait_for_function("document.querySelector('#option-latent_steps input').value === ''")
    page.fill("#option-latent_steps input", "7")
    page.fill("#option-seed input", "1234")
    click(page, "#keep-seed input")
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    call = site.pipeline.calls[0]
    assert (call["seed"], call["latent_steps"], call["structure_steps"]) == (1234, 7, None)


def test_other_files_of_the_shown_model(
    site: Site, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(site.address, webgl=True, viewport={"width": 1280, "height": 1900})
    choose_pictures(page, pictures[0])
    click(page, "#file-settings button")
    page.wait_for_selector("#option-formats input")
    assert not page.is_visible("#again")
    assert page.locator("#option-formats input:checked").count() == 3
    for name in ("mp4", "obj", "stl"):  # the first is taken out
        page.locator(f"#option-formats label:has-text('{name}') input").evaluate("box => box.click()")
    page.locator("#option-texture_mode label:has-text('best') input").evaluate("box => box.click()")
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    first = site.pipeline.saves[0]
    assert first["formats"] == ("glb", "obj", "stl", "ply") and first["texture_mode"] == "best"
    assert (first["normal_map"], first["faces"], first["stl_size"]) == (False, None, 100)
    kinds = [link.get_attribute("data-kind") for link in page.query_selector_all("a.download")]
    assert kinds == ["glb", "obj", "stl", "base_color", "ply", "all"]

    click(page, "#option-normal_map input")
    page.fill("#option-stl_size input", "42.5")
    shown = page.get_attribute(".job", "data-job")
    page.wait_for_selector("#again", state="visible")
    click(page, "#again")
    page.wait_for_selector(f".job[data-state=done]:not([data-job='{shown}'])")  # the old one stays for a moment
    assert len(site.pipeline.calls) == 1
    assert [save["normal_map"] for save in site.pipeline.saves] == [False, True]
    assert site.pipeline.saves[1]["stl_size"] == 42.5 and site.pipeline.saves[1]["seed"] == first["seed"]
    wait_for_model(page, "glb")
    screenshot(page, "files")
    with page.expect_download() as download:
        click(page, "a[data-kind=obj]")
    assert download.value.suggested_filename == "square_0_obj.zip"
    assert len(zipfile.ZipFile(download.value.path()).namelist()) == 3


def test_a_first_look_comes_before_the_files_and_old_files_stay_when_new_ones_fail(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector("a.download[data-kind=all]")
    click(page, "#file-settings button")
    links = [link.get_attribute("href") for link in page.query_selector_all("a.download")]
    site.pipeline.writing.clear()
    click(page, "#option-normal_map input")
    page.wait_for_selector("#again", state="visible")
    click(page, "#again")
    page.wait_for_selector("img.draft")
    page.wait_for_function("document.querySelector('img.draft').naturalWidth === 64")
    click(page, "#cancel")
    site.pipeline.writing.set()
    page.wait_for_selector(".job[data-state=cancelled]")
    page.wait_for_selector("a.download[data-kind=all]")
    assert [link.get_attribute("href") for link in page.query_selector_all("a.download")] == links
    assert page.query_selector("img.draft") is None and page.is_visible("#again")


def test_an_example_becomes_a_model_at_one_click(site: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    click(page, "#examples button:nth-of-type(2)")
    page.wait_for_selector(".job[data-state=done]")
    assert page.locator("#cutouts .cutouts img").count() == 1
    assert site.pipeline.calls[0]["sizes"] == [(128, 128)]
    [folder] = site.job_folders
    assert Image.open(folder / "picture_0.png").convert("RGB").getpixel((64, 64)) == COLORS[1]


def test_copied_pictures_are_added_and_all_are_used(
    site: Site, pictures: list[Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(site.address)
    for count, picture in enumerate(pictures[:2], start=1):
        page.evaluate(PASTE, base64.b64encode(picture.read_bytes()).decode())
        page.wait_for_function(
            "count => document.querySelectorAll('#cutouts .cutouts[data-state=ready] img').length === count", arg=count
        )
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    [folder] = site.job_folders
    colors = [Image.open(folder / f"picture_{i}.png").convert("RGB").getpixel((64, 64)) for i in range(2)]
    assert colors == list(COLORS[:2])


def test_several_pictures_make_one_model(site: Site, pictures: list[Path], open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    choose_pictures(page, *pictures)
    click(page, "#settings button")
    page.wait_for_selector("#option-multi_image input")
    page.locator("#option-multi_image label:has-text('multidiffusion') input").evaluate("box => box.click()")
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    call = site.pipeline.calls[0]
    assert len(call["sizes"]) == len(pictures) == 3 and call["multi_image"] == "multidiffusion"


def test_what_is_cut_out_is_shown_done_again_and_used(
    site: Site, tmp_path: Path, open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    picture = Image.new("RGB", (160, 120), (230, 230, 235))
    picture.paste((200, 40, 30), (50, 30, 110, 90))
    picture.save(tmp_path / "plain.png")
    page = open_page(site.address)
    assert not page.is_visible("#background")
    choose_pictures(page, tmp_path / "plain.png")
    assert page.is_visible("#background") and "GrabCut" in page.inner_text("#cutouts")
    screenshot(page, "cutout")
    page.locator("#background label:has-text('Own transparency') input").evaluate("box => box.click()")
    page.wait_for_selector("#cutouts .job[data-state=failed] >> text=no transparent pixel")
    page.locator("#background label:has-text('Plain background') input").evaluate("box => box.click()")
    page.wait_for_selector("#cutouts .cutouts[data-state=ready]")
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=done]")
    [folder] = site.job_folders
    used = np.asarray(Image.open(folder / "picture_0.png"))
    assert used.shape == (120, 160, 4) and used[60, 80, 3] > 200 and used[5, 5, 3] < 50


def test_cancel_stops_the_job(site: Site, pictures: list[Path], open_page: Callable[..., Page]) -> None:
    page = open_page(site.address)
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=running] ol")
    click(page, "#cancel")
    page.wait_for_selector(".job[data-state=cancelled]")
    assert site.states() == [JobState.CANCELLED]
    assert not page.is_disabled("#generate")
    assert page.query_selector("a.download") is None


def test_errors_are_one_clear_sentence(
    site: Site, tmp_path: Path, pictures: list[Path], open_page: Callable[..., Page], screenshot: Callable[..., bytes]
) -> None:
    page = open_page(site.address)
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=failed] >> text=Choose a picture first")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture at all")
    page.set_input_files("#pictures input[type=file]", str(broken))
    page.wait_for_selector("#progress .job", state="detached")  # it was of no picture
    page.wait_for_selector("#cutouts .job[data-state=failed] >> text=cannot be read as a picture")
    click(page, "#generate")
    page.wait_for_selector("#progress .job[data-state=failed] >> text=cannot be read as a picture")
    for part in ("#cutouts", "#progress"):
        text = page.inner_text(f"{part} .job")
        assert text.startswith("broken.png cannot") and "/gradio/" not in text
    screenshot(page, "error")

    site.pipeline.fault = RuntimeError("internal detail")
    page.reload()
    choose_pictures(page, pictures[0])
    click(page, "#generate")
    page.wait_for_selector(".job[data-state=failed] >> text=the log has the details")
    assert "internal detail" not in page.content()
