"""Pictures of an object for training, and the cameras that took them."""

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from trellis.atomic import written_aside
from trellis.dataset.cameras import transforms
from trellis.dataset.layout import CAMERAS, write_json
from trellis.encoding.source_mesh import SourceMesh
from trellis.encoding.views import render_views
from trellis.geometry.cameras import Cameras
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress

CONDITION_SIZE, VIEW_SIZE = 1024, 512  # pixels


def write_pictures(
    folder: Path, mesh: SourceMesh, cameras: Cameras, to_cube: Similarity, *, size: int, threads: int
) -> None:
    """Write lossless pictures of a mesh in the unit cube under the published lights, and their transforms.json last.

    What a killed process left in the folder is removed first. One sample a pixel: encoders see half of the size.
    """
    if folder.exists():
        shutil.rmtree(folder)
    names = [f"{index:03d}.webp" for index in range(len(cameras))]
    written: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        for name, camera in zip(names, cameras):
            view = render_views(mesh, camera, size=size, supersampling=1, shading="studio", progress=Progress())
            pixels = _pixels(view.color[0], view.alpha[0])
            written.append(pool.submit(_write_picture, folder / name, pixels))
    for each in written:
        each.result()
    write_json(folder / CAMERAS, transforms(cameras, names, to_cube))


def _pixels(color: Tensor, alpha: Tensor) -> Tensor:
    """RGBA [H, W, 4] uint8, its colours not multiplied by alpha."""
    plain = torch.where(alpha > 0, color / alpha.clamp_min(1e-6), 0.0)
    return (torch.cat([plain, alpha[None]]).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu()


def _write_picture(path: Path, pixels: Tensor) -> None:
    with written_aside(path) as aside:
        Image.fromarray(pixels.numpy()).save(aside, format="WEBP", lossless=True, quality=20, method=2)
