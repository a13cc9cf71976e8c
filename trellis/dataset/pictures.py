"""Pictures of an object for training, and the cameras that took them."""

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trellis.atomic import write_bytes, written_aside
from trellis.dataset.cameras import transforms
from trellis.dataset.layout import CAMERAS, MESH, write_json
from trellis.encoding.source_mesh import NormalizedMesh, SourceMesh
from trellis.encoding.views import render_views
from trellis.export.ply_file import ply_bytes
from trellis.geometry.cameras import Cameras
from trellis.progress import Progress

CONDITION_SIZE, VIEW_SIZE = 1024, 512  # pixels


def write_pictures(
    folder: Path, placed: NormalizedMesh, cameras: Cameras, *, size: int, threads: int, with_mesh: bool = False
) -> None:
    """Write lossless pictures of a mesh in the unit cube under the published lights, and their transforms.json last.

    with_mesh: write its triangles too, as mesh.ply. What a killed process left in the folder is removed first. There is
    one sample a pixel, as encoders see half of the size.
    """
    if folder.exists():
        shutil.rmtree(folder)
    names = [f"{index:03d}.webp" for index in range(len(cameras))]
    written: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        for name, camera in zip(names, cameras):
            view = render_views(placed.mesh, camera, size=size, supersampling=1, shading="studio", progress=Progress())
            pixels = _pixels(view.color[0], view.alpha[0])
            written.append(pool.submit(_write_picture, folder / name, pixels))
    for each in written:
        each.result()
    if with_mesh:
        write_bytes(folder / MESH, _mesh_bytes(placed.mesh))
    write_json(folder / CAMERAS, transforms(cameras, names, placed.to_cube))


def _mesh_bytes(mesh: SourceMesh) -> bytes:
    points = np.ascontiguousarray(mesh.vertices.cpu().numpy(), "<f4").view([(axis, "<f4") for axis in "xyz"])[:, 0]
    faces = np.empty(len(mesh.faces), [("vertex_indices", "<i4", (3,))])
    faces["vertex_indices"] = mesh.faces.cpu().numpy()
    return ply_bytes({"vertex": points, "face": faces})


def _pixels(color: Tensor, alpha: Tensor) -> Tensor:
    """RGBA [H, W, 4] uint8, its colours not multiplied by alpha."""
    plain = torch.where(alpha > 0, color / alpha.clamp_min(1e-6), 0.0)
    return (torch.cat([plain, alpha[None]]).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu()


def _write_picture(path: Path, pixels: Tensor) -> None:
    with written_aside(path) as aside:
        Image.fromarray(pixels.numpy()).save(aside, format="WEBP", lossless=True, quality=20, method=2)
