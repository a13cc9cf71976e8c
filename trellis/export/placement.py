"""Where files put a mesh: its origin, and its size in metres."""

from dataclasses import replace

import numpy as np
import torch

from trellis.errors import InvalidInputError
from trellis.export.options import REAL_SIZES
from trellis.geometry.cameras import Cameras
from trellis.representations import TexturedMesh


def placed(textured: TexturedMesh, *, pivot: str, real_size: float | None) -> TexturedMesh:
    """The mesh as files hold it: with its longest side `real_size` metres long, and the origin at its `pivot`.

    pivot: "center" leaves the origin where it is, "base" puts it on the floor below the middle of the mesh. The camera
    of the input picture moves along, so that it sees the same. Raises InvalidInputError for a size outside REAL_SIZES
    and for a mesh without extent.
    """
    if pivot == "center" and real_size is None:
        return textured
    low, high = textured.vertices.min(axis=0).astype(np.float64), textured.vertices.max(axis=0).astype(np.float64)
    extent = float((high - low).max())
    scale = 1.0
    if real_size is not None:
        if not REAL_SIZES[0] <= real_size <= REAL_SIZES[1] or extent <= 0:
            raise InvalidInputError(f"A mesh of extent {extent:g} cannot be made {real_size:g} m long.")
        scale = real_size / extent
    origin = np.zeros(3) if pivot == "center" else np.array([*((low + high) / 2)[:2], low[2]])
    camera = textured.picture_camera
    return replace(
        textured,
        vertices=(scale * (textured.vertices - origin)).astype(np.float32),
        picture_camera=None if camera is None else _moved(camera, scale, torch.from_numpy(origin)),
    )


def _moved(camera: Cameras, scale: float, origin: torch.Tensor) -> Cameras:
    """The camera that sees of `scale * (point - origin)` what `camera` sees of the point."""
    extrinsics = camera.extrinsics.double()
    rotation, shift = extrinsics[:, :3, :3], extrinsics[:, :3, 3]
    moved = extrinsics.clone()
    moved[:, :3, 3] = scale * (shift + rotation @ origin)
    return replace(camera, extrinsics=moved.to(camera.extrinsics.dtype))
