"""Pictures of an object for training, and the files of them with the cameras that took them."""

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from trellis.atomic import write_bytes, written_aside
from trellis.dataset.cameras import RENDERER, transforms
from trellis.dataset.layout import CAMERAS, MESH, write_json
from trellis.encoding.source_mesh import SourceMesh
from trellis.export.ply_file import ply_bytes
from trellis.geometry.cameras import Cameras
from trellis.geometry.similarity import Similarity
from trellis.ops.rasterize import rendering_device

CONDITION_SIZE, VIEW_SIZE = 1024, 512  # pixels


def studio_pictures(mesh: SourceMesh, cameras: Cameras, *, size: int) -> Iterator[Tensor]:
    """Pictures uint8 [size, size, 4], straight RGBA, of a mesh in the unit cube under the published lights.

    There is one sample a pixel, as encoders see half of the size.
    """
    # Imported at the call: Warp takes half a second to load.
    from trellis.encoding.warp_studio import studio_views

    for views in studio_views(mesh.to(rendering_device(mesh.device, "warp", mesh.vertices)), cameras, size=size):
        yield from views.cpu()


def write_pictures(
    folder: Path,
    pictures: Iterable[Tensor],
    cameras: Cameras,
    to_cube: Similarity,
    *,
    threads: int,
    renderer: str = RENDERER,
    mesh: SourceMesh | None = None,
) -> None:
    """Write pictures uint8 [H, W, 4] of an object without loss, the triangles of `mesh`, and transforms.json last.

    What a killed process left in the folder is removed first.
    """
    if folder.exists():
        shutil.rmtree(folder)
    names = [f"{index:03d}.webp" for index in range(len(cameras))]
    with ThreadPoolExecutor(threads) as pool:
        written = [
            pool.submit(_write_picture, folder / name, pixels) for name, pixels in zip(names, pictures, strict=True)
        ]
    for each in written:
        each.result()
    if mesh is not None:
        write_bytes(folder / MESH, _mesh_bytes(mesh))
    write_json(folder / CAMERAS, transforms(cameras, names, to_cube, renderer))


def _mesh_bytes(mesh: SourceMesh) -> bytes:
    points = np.ascontiguousarray(mesh.vertices.cpu().numpy(), "<f4").view([(axis, "<f4") for axis in "xyz"])[:, 0]
    faces = np.empty(len(mesh.faces), [("vertex_indices", "<i4", (3,))])
    faces["vertex_indices"] = mesh.faces.cpu().numpy()
    return ply_bytes({"vertex": points, "face": faces})


def _write_picture(path: Path, pixels: Tensor) -> None:
    with written_aside(path) as aside:
        Image.fromarray(pixels.numpy()).save(aside, format="WEBP", lossless=True, quality=20, method=2)
