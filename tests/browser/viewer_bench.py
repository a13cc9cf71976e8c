"""The viewer alone, on a page of its own, with models that are known exactly."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import torch
from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from PIL import Image
from playwright.sync_api import Page
from starlette.staticfiles import StaticFiles

from tests.clouds import round_cloud
from tests.unit.export.textured_samples import textured_box
from trellis.app.ui.look import STYLE_SHEET
from trellis.app.ui.web import STATIC
from trellis.export.glb import write_glb
from trellis.export.ply import write_gaussian_ply
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.rendering.textured_mesh import render_textured_mesh

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/page.css"><style>:root { --block-background-fill: #fff; --body-text-color: #1f2937;
--body-text-color-subdued: #64748b; --block-border-color: #e2e8f0; --primary-500: #14b8a6; --primary-600: #0d9488;
--primary-700: #0f766e; } body { margin: 0; } #viewer > div { max-width: 700px; }</style>
<div id="viewer"><div></div></div><script src="/static/viewer.js"></script>
<script>const viewer = TrellisViewer.mount(document.querySelector("#viewer > div"))</script>"""


def bench_app(folder: Path) -> FastAPI:
    """A page with the viewer, and the files of a folder under /files."""
    app = FastAPI()
    app.get("/", response_class=HTMLResponse)(lambda: PAGE)
    app.get("/page.css")(lambda: FileResponse(STYLE_SHEET))
    app.mount("/static", StaticFiles(directory=STATIC))
    app.mount("/files", StaticFiles(directory=folder))
    return app


def picture_camera() -> Cameras:
    """Where the picture of the box is taken from: the front, from the left and above, off its middle."""
    cameras = orbit_cameras([np.pi + 0.5], [0.3], radius=2.2, fov_degrees=35)
    cameras.intrinsics[0, 0, 2], cameras.intrinsics[0, 1, 2] = 0.56, 0.46
    return cameras


def write_models(folder: Path) -> None:
    """box.glb, closed, with its picture.png; open.glb, which lacks a side; box.ply, one side in Gaussians."""
    box = textured_box()
    write_glb(dataclasses.replace(box, picture_camera=picture_camera()), folder / "box.glb")
    write_glb(dataclasses.replace(box, faces=box.faces[2:]), folder / "open.glb")
    vertices, faces, uvs, texture = (torch.from_numpy(a) for a in (box.vertices, box.faces, box.uvs, box.texture))
    images = render_textured_mesh(
        vertices,
        faces,
        uvs=uvs,
        texture=texture / 255,
        cameras=picture_camera(),
        size=256,
        background="black",
    )
    pixels = torch.cat([images.color[0], images.alpha]).permute(1, 2, 0).numpy()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(folder / "picture.png")
    steps = torch.linspace(-0.3, 0.3, 40)
    x, z = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, torch.full_like(x, -0.2), z], dim=-1).reshape(-1, 3)
    color = torch.tensor([200, 90, 40]) / 255
    cloud = round_cloud(points, color.repeat(len(points), 1), scale=0.02, opacity=0.99)
    write_gaussian_ply(cloud, folder / "box.ply")


def show(page: Page, **files: str) -> None:
    """Show files of the folder and wait until they are there."""
    page.evaluate("files => viewer.show(files)", {kind: f"/files/{name}" for kind, name in files.items()})
    page.wait_for_selector(".tv-pane[data-state=ready][data-shown]")


def choose_mode(page: Page, mode: str) -> None:
    page.evaluate("mode => document.querySelector(`[data-mode=${mode}]`).click()", mode)
    page.wait_for_selector(f".tv-pane[data-shown={mode}][data-state=ready]")


def saved_picture(page: Page) -> np.ndarray:
    """What the button saves, uint8 [H, W, 4]."""
    with page.expect_download() as download:
        page.evaluate("document.querySelector('[data-action=picture]').click()")
    return np.asarray(Image.open(download.value.path()).convert("RGBA"))


def video_frame(page: Page, address: str) -> np.ndarray:
    """The first picture of a video as the browser shows it, uint8 [H, W, 3]."""
    text = page.evaluate(
        """async (address) => {
          const video = Object.assign(document.createElement("video"), { src: address, muted: true });
          document.body.append(video);
          await new Promise((resolve, reject) => Object.assign(video, { onloadeddata: resolve, onerror: reject }));
          const presented = new Promise((resolve) => video.requestVideoFrameCallback(resolve)); // until then: black
          video.currentTime = 0.05;
          await Promise.all([presented, new Promise((resolve) => { video.onseeked = resolve; })]);
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
          canvas.getContext("2d").drawImage(video, 0, 0);
          return canvas.toDataURL("image/png").split(",")[1];
        }""",
        address,
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))
