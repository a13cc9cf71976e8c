"""The viewer alone: every mode, control and key, the facts, the colours, and the slider against the picture."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from tests.browser.actions import wait_while
from tests.browser.conftest import opened_pages
from tests.browser.serving import served
from tests.browser.viewer_bench import bench_app, choose_mode, saved_picture, show, video_frame, write_models
from tests.unit.export.textured_samples import COLORS, EXTENTS, textured_box
from trellis.export.chain import FileSources
from trellis.export.files import draft
from trellis.export.ply import write_gaussian_ply
from trellis.export.video import write_video
from trellis.rendering.turntable import TurntableConfig, turntable
from trellis.representations import GaussianCloud

pytestmark = pytest.mark.browser
FRONT = np.array(COLORS[3])  # world -y
NOTHING = {"gaussians": None, "mesh": None}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def address(models: Path) -> Iterator[str]:
    with served(bench_app(models)) as address:
        yield address


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> Iterator[Page]:
    with opened_pages(browser) as open_page:
        yield open_page(address, webgl=True)


@pytest.fixture
def page(opened: Page, address: str) -> Page:
    """The page loaded anew, which takes less than another session."""
    page = opened
    page.mouse.move(0, 0)
    page.goto(address)
    page.wait_for_selector("#viewer .tv-pane", state="attached")
    show(page, glb="box.glb", ply="box.ply", picture="picture.png")
    page.wait_for_function("document.querySelector('.tv-facts').textContent.includes('closed')")
    return page


def pressed(page: Page, action: str) -> bool:
    return page.get_attribute(f"[data-action={action}]", "aria-pressed") == "true"


def colors(picture: np.ndarray) -> set[tuple[int, ...]]:
    """The colours that fill at least a hundredth of the model, to the next multiple of 8."""
    seen = picture[picture[..., 3] == 255][:, :3] // 8
    found, counts = np.unique(seen, axis=0, return_counts=True)
    return {tuple(color) for color, count in zip(found.tolist(), counts, strict=True) if count > len(seen) / 100}


def view_pixels(page: Page) -> np.ndarray:
    """What the pane shows between its rows of buttons, int [H, W, 3]."""
    picture = Image.open(io.BytesIO(page.locator(".tv-view").screenshot())).convert("RGB")
    return np.asarray(picture, dtype=int)[60:-60]


def saved_opaque(page: Page) -> np.ndarray:
    """The colours [n, 3] of what is opaque in a saved picture."""
    picture = saved_picture(page)
    return picture[picture[..., 3] > 250][:, :3].astype(float)


def center(picture: np.ndarray) -> np.ndarray:
    """The mean colour of the middle."""
    height, width = picture.shape[:2]
    return picture[height // 2 - 6 : height // 2 + 6, width // 2 - 6 : width // 2 + 6, :3].reshape(-1, 3).mean(axis=0)


def test_every_mode_is_another_picture_of_the_same_outline(page: Page) -> None:
    pictures = {}
    for mode in ("textured", "clay", "wireframe", "normals", "uv", "gaussians"):
        choose_mode(page, mode)
        assert page.get_attribute(f"[data-mode={mode}]", "aria-pressed") == "true"
        pictures[mode] = saved_picture(page)
    outline = pictures["textured"][..., 3] > 0
    assert 0.05 < outline.mean() < 0.6  # the rest is transparent
    for mode in ("clay", "wireframe", "normals", "uv"):
        other = pictures[mode][..., 3] > 0
        assert (other & outline).sum() > 0.98 * (other | outline).sum(), mode  # lines are wider than nothing
    names = list(pictures)
    for index, name in enumerate(names):
        for second in names[index + 1 :]:
            difference = np.abs(pictures[name].astype(int) - pictures[second]).mean()
            assert difference > 0.5, (name, second, difference)
    spread = np.ptp(pictures["clay"][outline][:, :3].astype(int), axis=1)
    assert np.percentile(spread, 95) < 40  # clay has next to no colour
    dark = [(pictures[mode][outline][:, :3].mean(axis=1) < 70).mean() for mode in ("clay", "wireframe")]
    assert dark[1] > dark[0] + 0.002  # there are lines on it


def test_facts_say_what_the_file_holds(page: Page, models: Path) -> None:
    facts = page.inner_text(".tv-facts").replace("\n", " ")
    size = " × ".join(str(side) for side in (EXTENTS[0], EXTENTS[2], EXTENTS[1]))
    for fact in ("12 faces", "24 vertices", "texture 64 × 64", "closed", f"{size} m"):
        assert fact in facts
    assert f"{(models / 'box.glb').stat().st_size / 1e3:.1f} kB" in facts
    choose_mode(page, "gaussians")
    assert "1,600 Gaussians" in page.inner_text(".tv-facts")
    show(page, glb="open.glb")
    page.wait_for_function("document.querySelector('.tv-facts').textContent.includes('open at 4 edges')")
    assert "10 faces" in page.inner_text(".tv-facts")
    assert page.is_disabled("[data-mode=gaussians]") and page.is_disabled("[data-action=compare]")


def test_all_pictures_have_the_colours_of_the_texture(page: Page, models: Path) -> None:
    """The front of the box, under neutral light: texture, viewer, video (small and large), history and Gaussians."""
    page.keyboard.press("Tab")
    page.focus(".tv-canvas")
    page.keyboard.press("l")
    page.keyboard.press("l")
    assert page.get_attribute(".tv-pane", "data-light") == "neutral"
    shown = saved_picture(page)
    exact = [np.abs(shown[..., :3].astype(int) - color).max(axis=-1) <= 1 for color in COLORS]
    sides = [share.mean() / (shown[..., 3] > 0).mean() for share in exact]
    assert sum(side > 0.02 for side in sides) == 3 and sum(sides) > 0.95  # three sides are seen, each in its colour

    box = textured_box()
    for size in (256, 1024):
        config = TurntableConfig(sides=("textured",), frames=1, size=size, background="white")
        write_video(models / f"turn_{size}.mp4", list(turntable(textured=box, config=config)) * 5)
        assert np.abs(center(video_frame(page, f"/files/turn_{size}.mp4")) - FRONT).mean() < 3
    history = draft(FileSources(**NOTHING), textured=box)
    assert np.abs(center(history) - FRONT).mean() < 3

    choose_mode(page, "gaussians")
    wait_while(page, lambda: len(saved_opaque(page)) < 1000)  # they are sorted in a worker first
    patch = saved_opaque(page)
    assert np.abs(np.median(patch, axis=0) - (200, 90, 40)).mean() < 3


def test_three_lights_their_direction_and_the_exposure(page: Page) -> None:
    choose_mode(page, "clay")
    pictures = {}
    for light in ("studio", "sun", "neutral"):
        page.evaluate("light => document.querySelector(`.tv-panel [data-light=${light}]`).click()", light)
        pictures[light] = saved_picture(page).astype(int)
    assert np.abs(pictures["studio"] - pictures["sun"]).mean() > 0.5
    assert np.abs(pictures["sun"] - pictures["neutral"]).mean() > 0.5
    assert page.is_disabled("[data-slider=angle]")  # nothing to turn
    for light in ("studio", "sun"):
        page.evaluate("light => document.querySelector(`.tv-panel [data-light=${light}]`).click()", light)
        page.focus(".tv-canvas")
        for _ in range(8):
            page.keyboard.press("]")
        turned = saved_picture(page).astype(int)
        assert np.abs(turned - pictures[light]).mean() > 0.5, light
        for _ in range(8):
            page.keyboard.press("[")
        assert np.abs(saved_picture(page).astype(int) - pictures[light]).mean() < 0.05
    page.evaluate("document.querySelector('[data-action=light]').click()")
    page.focus("[data-slider=exposure]")
    page.keyboard.press("Home")
    assert saved_picture(page)[..., :3].mean() < 0.7 * pictures["sun"][..., :3].mean()


def test_grid_background_and_the_picture_without_both(page: Page) -> None:
    bare = saved_picture(page)
    before = view_pixels(page)
    page.focus(".tv-canvas")
    page.keyboard.press("g")
    assert pressed(page, "grid") and page.inner_text(".tv-scale") == "Grid: 10 cm"
    assert np.abs(view_pixels(page) - before).mean() > 0.1
    page.keyboard.press("b")
    assert (view_pixels(page)[:5, :5] == 255).all()
    page.keyboard.press("b")
    page.keyboard.press("b")
    assert page.get_attribute(".tv-pane", "data-background") == "black" and view_pixels(page)[:5, :5].max() == 0
    picture = saved_picture(page)
    assert np.array_equal(picture, bare)
    assert (picture[..., 3] == 0).mean() > 0.4 and (picture[..., 3] == 255).mean() > 0.05


def test_the_view_turns_moves_and_comes_nearer_by_keys_and_pointer(page: Page) -> None:
    first = saved_picture(page)

    def middle(picture: np.ndarray) -> np.ndarray:
        return np.argwhere(picture[..., 3] > 0).mean(axis=0)

    page.focus(".tv-canvas")
    page.keyboard.press("ArrowLeft")
    assert np.abs(saved_picture(page).astype(int) - first).mean() > 0.3
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    moved = middle(saved_picture(page)) - middle(first)
    assert moved[1] > 8 and moved[0] < -8  # to the right and up
    page.keyboard.press("h")
    page.keyboard.press("+")
    assert (saved_picture(page)[..., 3] > 0).mean() > 1.15 * (first[..., 3] > 0).mean()
    page.keyboard.press("h")
    assert np.abs(saved_picture(page).astype(int) - first).mean() < 0.5

    area = page.locator(".tv-canvas").bounding_box()
    assert area is not None
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 60, y, steps=3)
    page.mouse.up(button="right")
    page.wait_for_timeout(500)
    assert (middle(saved_picture(page)) - middle(first))[1] > 20


def test_the_slider_lays_the_picture_over_the_model(page: Page) -> None:
    page.focus(".tv-canvas")
    page.keyboard.press("c")
    assert pressed(page, "compare") and page.get_attribute(".tv-pane", "data-light") == "neutral"
    assert page.evaluate("document.activeElement.matches('.tv-compare input')")
    page.wait_for_function("document.querySelector('.tv-compare img').naturalWidth === 256")
    page.keyboard.press("Home")
    model = view_pixels(page)[:, 20:-20]
    page.keyboard.press("End")
    picture = view_pixels(page)[:, 20:-20]
    box = np.ptp(model, axis=-1) > 80
    assert 0.05 < box.mean() < 0.5
    overlap = box & (np.ptp(picture, axis=-1) > 80)
    assert overlap.sum() > 0.97 * box.sum()  # they lie on each other
    assert np.median(np.abs(model - picture)[box]) < 3  # in the same colours
    page.keyboard.press("Escape")
    assert not pressed(page, "compare") and page.get_attribute(".tv-pane", "data-light") == "studio"
    assert page.evaluate("document.activeElement.matches('.tv-canvas')")


def test_every_control_is_named_and_reached_by_the_keyboard(page: Page) -> None:
    page.evaluate("document.activeElement.blur()")
    wanted = page.evaluate(
        """[...document.querySelectorAll(".tv-canvas, .tv-modes button, .tv-tools button")]
        .filter((item) => item.checkVisibility()).map((item) => item.dataset.mode ?? item.dataset.action ?? "canvas")"""
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        name, label, outline = page.evaluate(
            """(() => { const item = document.activeElement;
            return [item.dataset.mode ?? item.dataset.action ?? "canvas", item.getAttribute("aria-label"),
                    getComputedStyle(item).outlineStyle]; })()"""
        )
        assert label and outline != "none", name
        reached.append(name)
    assert reached == wanted and len(wanted) == 15
    page.focus(".tv-canvas")
    for key, mode in enumerate(("textured", "clay", "wireframe", "normals", "uv", "gaussians"), start=1):
        page.keyboard.press(str(key))
        page.wait_for_selector(f".tv-pane[data-shown={mode}][data-state=ready]")
    page.keyboard.press("?")
    assert "Save a picture without background" in page.inner_text("[data-panel=keys]")
    page.keyboard.press("Escape")
    assert not page.is_visible("[data-panel=keys]")
    page.keyboard.press("r")
    assert pressed(page, "rotate")
    page.keyboard.press("r")
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement?.matches('.tv-pane')")
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")


@pytest.mark.parametrize("width", [390, 700])
def test_controls_have_room(address: str, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(address, webgl=True, viewport={"width": width, "height": 844})
    show(page, glb="box.glb", ply="box.ply", picture="picture.png")
    page.evaluate("document.querySelector('[data-action=grid]').click()")
    boxes = page.evaluate(
        """[...document.querySelectorAll(".tv-view button, .tv-scale")].filter((item) => item.checkVisibility())
        .map((item) => item.getBoundingClientRect()).map((box) => [box.left, box.top, box.right, box.bottom])"""
    )
    assert len(boxes) == 15
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= width and bottom - top >= 28 and right - left >= 28
        for other in boxes[index + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, (boxes[index], other)


def test_a_file_that_is_not_there_is_said_so_and_the_next_is_shown(page: Page) -> None:
    page.evaluate("viewer.show({ glb: '/files/missing.glb' })")
    page.wait_for_selector(".tv-message >> text=could not be loaded")
    show(page, glb="open.glb")
    assert (saved_picture(page)[..., 3] > 0).mean() > 0.05
    page.evaluate("viewer.show(null)")
    page.wait_for_selector(".tv-message >> text=Your model appears here")
    assert not page.is_visible(".tv-tools") and not page.is_visible(".tv-facts")


def test_a_server_that_falls_silent_is_told_and_asked_again(page: Page) -> None:
    held: list[Route] = []
    page.evaluate("() => { window.patient = window.setTimeout.bind(window); }")
    page.evaluate("() => { window.setTimeout = (f, time) => patient(f, time === 60000 ? 50 : time); }")
    page.route("**/open.glb", lambda route: held.append(route), times=1)
    page.evaluate("viewer.show({ glb: '/files/open.glb' })")
    page.wait_for_selector(".tv-message >> text=could not be loaded")
    page.evaluate("() => { window.setTimeout = patient; }")  # a busy machine may need more than 50 ms to answer
    page.click(".tv-message button")
    page.wait_for_selector(".tv-pane[data-state=ready]")
    assert "10 faces" in page.inner_text(".tv-facts")


def test_what_still_loads_says_nothing_over_what_is_shown(page: Page) -> None:
    held: list[Route] = []
    page.route("**/open.glb", lambda route: held.append(route), times=1)
    page.evaluate("viewer.show({ glb: '/files/open.glb', ply: '/files/box.ply' })")
    page.wait_for_selector(".tv-message >> text=Loading the model")
    choose_mode(page, "gaussians")
    held[0].continue_()
    page.wait_for_function("viewer.box")  # the mesh is here, and not shown
    assert page.get_attribute(".tv-pane", "data-state") == "ready" and page.inner_text(".tv-message") == ""
    choose_mode(page, "textured")
    assert "10 faces" in page.inner_text(".tv-facts")


def test_a_lost_graphics_card_is_told_and_the_view_comes_back(page: Page) -> None:
    before = saved_picture(page)
    page.evaluate(
        """() => {
          window.card = document.querySelector(".tv-canvas").getContext("webgl2").getExtension("WEBGL_lose_context");
          card.loseContext();
        }"""
    )
    page.wait_for_selector(".tv-message >> text=The graphics card stopped answering")
    page.evaluate("card.restoreContext()")
    page.wait_for_selector(".tv-pane[data-state=ready]")
    assert np.abs(saved_picture(page).astype(int) - before).mean() < 0.5
    choose_mode(page, "gaussians")
    wait_while(page, lambda: len(saved_opaque(page)) < 1000)


def test_a_mesh_of_many_faces_is_studied_without_holding_the_page_up(page: Page, models: Path, address: str) -> None:
    """A closed sphere of 327,680 faces: the edges are found, and the page answers all the while."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=7)
    ball.apply_scale(0.5)
    ball.export(models / "ball.glb")
    page.evaluate(
        """() => {
          window.longest = 0;
          let last = performance.now();
          setInterval(() => {
            const now = performance.now();
            longest = Math.max(longest, now - last);
            last = now;
          }, 20);
        }"""
    )
    show(page, glb="ball.glb")
    page.wait_for_function("document.querySelector('.tv-facts').textContent.includes('closed')")
    assert "327,680 faces" in page.inner_text(".tv-facts")
    assert "drawn coarser" in page.inner_text(".tv-facts")  # there is no graphics card here
    assert page.evaluate("longest") < 3000
    seen = saved_picture(page)[..., 3] > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    height, width = np.ptp(rows), np.ptp(columns)
    assert abs(height - width) < 0.03 * height and abs(seen.sum() / (height * width) - np.pi / 4) < 0.02  # a whole ball


def test_many_gaussians_are_thinned_where_there_is_no_graphics_card(page: Page, models: Path) -> None:
    count = 60_000
    turns = torch.linspace(0, 1, count) * torch.pi
    points = torch.stack([turns.sin() * (turns * 400).cos(), turns.sin() * (turns * 400).sin(), turns.cos()], dim=1)
    cloud = GaussianCloud(
        positions=0.4 * points,
        features_dc=torch.zeros(count, 3),
        scales=torch.full((count, 3), 0.006),
        rotations=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        opacities=torch.full((count, 1), 0.99),
    )
    write_gaussian_ply(cloud, models / "ball.ply")
    show(page, ply="ball.ply")
    assert "60,000 Gaussians" in page.inner_text(".tv-facts") and "drawn coarser" in page.inner_text(".tv-facts")
    wait_while(page, lambda: len(saved_opaque(page)) < 1000)
    opaque = saved_picture(page)[..., 3] > 250
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    inside = opaque[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert abs(inside.mean() - np.pi / 4) < 0.05  # without holes
