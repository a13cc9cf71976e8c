"""The published cameras of training pictures, and transforms.json, which records them."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trellis.geometry.cameras import Cameras, orbit_cameras, training_view_angles
from trellis.geometry.similarity import Similarity

RENDERER = "trellis-desktop studio"
WIDEST, NARROWEST = math.radians(70), math.radians(10)  # fields of view of condition pictures
REACH = math.sqrt(3) / 2  # half the unit cube's diagonal: what a picture holds, whatever its field of view


def condition_cameras(count: int, sha: str) -> Cameras:
    """Cameras of an object's condition pictures: 1 / radius^2 is uniform, the cube just fits; the sha is the seed."""
    draws = random.Random(f"condition {sha}")
    angles = training_view_angles(count, draws)
    nearest, farthest = (REACH / math.sin(field / 2) for field in (WIDEST, NARROWEST))
    cameras = []
    for yaw, pitch in angles:
        radius = draws.uniform(1 / farthest**2, 1 / nearest**2) ** -0.5
        field = math.degrees(2 * math.asin(REACH / radius))
        cameras.append(orbit_cameras([yaw], [pitch], radius=radius, fov_degrees=field))
    return Cameras(torch.cat([c.extrinsics for c in cameras]), torch.cat([c.intrinsics for c in cameras]))


def frames(cameras: Cameras, names: Sequence[str]) -> list[dict[str, Any]]:
    """The frames of transforms.json: cameras to the world, which look along -z with y up."""
    matrices = torch.linalg.inv(cameras.extrinsics.double())
    matrices[:, :, 1:3] *= -1
    return [
        {"file_path": name, "camera_angle_x": float(field), "transform_matrix": matrix.tolist()}
        for name, field, matrix in zip(names, cameras.fov, matrices, strict=True)
    ]


def transforms(cameras: Cameras, names: Sequence[str], to_cube: Similarity, renderer: str = RENDERER) -> dict[str, Any]:
    """The content of transforms.json: the frames, where the object is, and what drew it."""
    return {
        "aabb": [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]],
        "scale": to_cube.scale,
        "offset": list(to_cube.shift),
        "renderer": renderer,
        "frames": frames(cameras, names),
    }


def frame_fault(frame: Mapping[str, Any]) -> str | None:
    """What of a frame of transforms.json cannot be used, None if all can."""
    try:
        name, field = frame["file_path"], float(frame["camera_angle_x"])
        matrix = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        return f"a frame lacks file_path, camera_angle_x or transform_matrix ({error})"
    if not isinstance(name, str) or not 0 < field < math.pi:
        return f"frame {name!r} has a field of view of {field} rad"
    if tuple(matrix.shape) != (4, 4) or not _is_rigid(matrix):
        return f"the transform_matrix of {name} is no camera's place [4, 4]"
    return None


def _is_rigid(matrix: Tensor) -> bool:
    turn, eye = matrix[:3, :3], torch.eye(3, dtype=matrix.dtype)
    return bool(torch.isfinite(matrix).all() and torch.allclose(turn @ turn.T, eye, atol=1e-3) and torch.det(turn) > 0)
