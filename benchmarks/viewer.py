"""The page's viewer in Chromium: `python -m benchmarks.viewer [--gpu] [--output DIR]`.

For meshes and clouds of growing size: seconds until they are shown, the longest time for which the page does not
answer meanwhile, and frames a second while the pointer turns them. What draws is told first: the processor, or with
`--gpu` the graphics card.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright

from tests.browser.serving import CHROMIUM, SOFTWARE_WEBGL, served
from tests.browser.viewer_bench import bench_app
from trellis.export.glb import write_glb
from trellis.export.ply import write_gaussian_ply
from trellis.representations import GaussianCloud, TexturedMesh

MODELS = {"glb": (100_000, 500_000, 2_000_000), "ply": (100_000, 1_000_000)}  # faces, Gaussians
WARM_SECONDS, SECONDS = 2, 8  # of turning
WATCH = """
window.longest = 0;
window.frames = 0;
let last = performance.now();
setInterval(() => {
  longest = Math.max(longest, performance.now() - last);
  last = performance.now();
}, 10);
const request = window.requestAnimationFrame;
window.requestAnimationFrame = (draw) => request((now) => { frames += 1; draw(now); });
"""
TURN = """seconds => new Promise((resolve) => {
  const canvas = document.querySelector(".tv-canvas");
  const one = { pointerId: 1, pointerType: "mouse", bubbles: true, clientY: 200 };
  const tell = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, { ...one, clientX: x }));
  canvas.setPointerCapture = canvas.releasePointerCapture = () => {};
  const [begin, first] = [performance.now(), frames];
  tell("pointerdown", 300);
  let x = 300;
  const timer = setInterval(() => {
    tell("pointermove", (x += 2));
    if (performance.now() - begin < 1000 * seconds) return;
    clearInterval(timer);
    tell("pointerup", x);
    resolve((1000 * (frames - first)) / (performance.now() - begin));
  }, 8);
})"""
RENDERER = """(() => {
  const gl = document.createElement("canvas").getContext("webgl2");
  return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
})()"""


def ball(faces: int) -> TexturedMesh:
    """A textured ball of about so many faces, the diameter 1."""
    rows = max(3, round((faces / 4) ** 0.5))
    v, u = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, 2 * rows + 1), indexing="ij")
    angle, turn = np.pi * v.ravel(), 2 * np.pi * u.ravel()
    normals = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=1)
    first = (np.arange(rows)[:, None] * (2 * rows + 1) + np.arange(2 * rows)).ravel()
    corners = np.stack([first, first + 2 * rows + 1, first + 2 * rows + 2, first + 1], axis=1)
    pixels = np.random.default_rng(0).integers(60, 220, (64, 64, 3)).astype(np.uint8)
    return TexturedMesh(
        vertices=(0.5 * normals).astype(np.float32),
        normals=normals.astype(np.float32),
        uvs=np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float32),
        faces=np.concatenate([corners[:, :3], corners[:, [0, 2, 3]]]).astype(np.int32),
        texture=pixels.repeat(16, axis=0).repeat(16, axis=1),
    )


def cloud(count: int) -> GaussianCloud:
    """So many Gaussians on a sphere, whose surface they cover."""
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return GaussianCloud(
        positions=0.5 * points,
        features_dc=torch.rand(count, 3, generator=generator) - 0.5,
        scales=torch.full((count, 3), 1.2 / count**0.5),
        rotations=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        opacities=torch.full((count, 1), 0.9),
    )


def write_models(folder: Path) -> list[Path]:
    """The files; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{count}.{kind}" for kind, counts in MODELS.items() for count in counts]
    for path in paths:
        if path.is_file():
            continue
        if path.suffix == ".glb":
            write_glb(ball(int(path.stem)), path)
        else:
            write_gaussian_ply(cloud(int(path.stem)), path)
    return paths


def measure(page: Page, address: str, path: Path) -> dict[str, float | str]:
    """Show one file on a page of its own, and turn it."""
    page.goto(address)
    page.wait_for_timeout(1000)
    seconds = page.evaluate(
        """async (files) => {
          longest = 0;
          const begin = performance.now();
          viewer.show(files);
          const pane = document.querySelector(".tv-pane");
          while (pane.dataset.state !== "ready") await new Promise((resolve) => setTimeout(resolve, 10));
          await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
          return (performance.now() - begin) / 1000;
        }""",
        {path.suffix[1:]: f"/files/{path.name}"},
    )
    page.wait_for_timeout(500)  # what is left to do may hold it up as well
    longest = page.evaluate("longest") / 1000
    page.evaluate(TURN, WARM_SECONDS)
    return {
        "file": path.name,
        "MB": round(path.stat().st_size / 1e6, 1),
        "shown after, s": round(seconds, 2),
        "longest stall, s": round(longest, 2),
        "frames a second": round(page.evaluate(TURN, SECONDS), 2),
    }


def main() -> None:
    """Measure all models and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="let Chromium draw with the graphics card")
    parser.add_argument("--output", type=Path, default=Path("outputs/viewer"), help="where the models are kept")
    options = parser.parse_args()
    flags = ["--no-sandbox", "--ignore-gpu-blocklist"] if options.gpu else list(SOFTWARE_WEBGL)
    paths = write_models(options.output)
    with sync_playwright() as playwright, served(bench_app(options.output)) as address:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 720, "height": 620}, reduced_motion="reduce")
        page.set_default_timeout(600_000)
        page.add_init_script(WATCH)
        page.goto(address)
        print(page.evaluate(RENDERER), flush=True)
        for path in paths:
            print(json.dumps(measure(page, address, path)), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
