"""The real thing in Chromium: gradio_main.py on the embedded model, from example pictures to a downloaded GLB."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trimesh
from playwright.sync_api import Page

from tests.browser.actions import choose_option, choose_pictures, click, detail_share, wait_for_model
from tests.browser.serving import free_port

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
PICTURES = sorted((ROOT / "assets" / "example_image").glob("*.png"))
START_SECONDS = 120
JOB_SECONDS = 500


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "gradio_main.py", "--no-browser", "--device", "cpu", "--port", str(port)]
    log = tmp_path_factory.mktemp("page") / "log.txt"
    with log.open("w") as stream:
        program = subprocess.Popen(
            [*command, "--output", str(log.parent / "results")], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/viewer.js", program, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait(timeout=60)


def _wait_until_up(url: str, program: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert program.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"the page did not start within {START_SECONDS} s:\n{log.read_text()}")


def wait_for_job(page: Page, selector: str) -> None:
    """Wait for a state of the job, but not longer than it lives."""
    page.wait_for_selector(f"{selector}, .job[data-state=failed]", timeout=JOB_SECONDS * 1000)
    failed = page.query_selector(".job[data-state=failed]")
    assert failed is None, failed.inner_text()


def choose_a_quick_look(page: Page) -> None:
    """The memory preset of a small texture and a short preview."""
    click(page, "#setup button")
    choose_option(page, "#option-preset", "prototype")
    click(page, "#settings button")
    click(page, "#file-settings button")
    page.wait_for_function("document.querySelector('#option-preview_frames input')?.value === '24'")


def test_example_pictures_become_a_textured_glb(
    address: str, open_page: Callable[..., Page], screenshot: Callable[[Page, str], bytes]
) -> None:
    page = open_page(address, webgl=True)
    assert page.inner_text("#model-chip") == "Demo model: 87 kinds of simple objects"
    wait_for_model(page, "glb", share=detail_share, least=0.001)  # an example to turn before there is a result
    assert "An example" in page.inner_text("#caption")
    choose_pictures(page, *PICTURES[:2])
    choose_a_quick_look(page)
    for option in ("structure_steps", "latent_steps"):
        page.fill(f"#option-{option} input", "4")
    click(page, "#generate")
    wait_for_job(page, ".job[data-state=done]")
    drawn = wait_for_model(page, "glb", share=detail_share, least=0.001)
    screenshot(page, "nano-result")
    page.wait_for_function("document.querySelector('video.preview').readyState >= 2")
    with page.expect_download() as download:
        click(page, "a[data-kind=glb]")
    mesh = trimesh.load(download.value.path(), file_type="glb", force="mesh")
    assert len(mesh.faces) > 100 and max(abs(mesh.bounds).ravel()) < 0.6
    assert min(mesh.visual.material.baseColorTexture.size) >= 512
    click(page, "[data-mode=gaussians]")
    wait_for_model(page, "ply", share=detail_share, least=0.001, unlike=drawn)
    screenshot(page, "nano-gaussians")


def test_cancel_stops_sampling(address: str, open_page: Callable[..., Page]) -> None:
    page = open_page(address)
    choose_pictures(page, PICTURES[0])
    click(page, "#settings button")
    page.wait_for_function("document.querySelector('#option-structure_steps input')?.value === ''")
    page.fill("#option-structure_steps input", "100")
    click(page, "#generate")
    wait_for_job(page, ".job[data-state=running] .job-line:has-text('Structure')")
    click(page, "#cancel")
    page.wait_for_selector(".job[data-state=cancelled]")
    assert page.query_selector("a.download") is None
