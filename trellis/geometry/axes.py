"""Axis conventions of files: the world is z-up with the front at -y; files turn it in one place, here."""

import math

import torch
from torch import Tensor

# Left factor that turns Gaussian rotations together with `to_viewer_frame` (+90 degrees about x).
VIEWER_QUATERNION = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)


def to_gltf_frame(points: Tensor) -> Tensor:
    """World z-up [..., 3] to glTF y-up, (x, y, z) -> (x, z, -y): the front of the object looks along +z."""
    x, y, z = points.unbind(-1)
    return torch.stack([x, z, -y], dim=-1)


def from_gltf_frame(points: Tensor) -> Tensor:
    """glTF y-up [..., 3] to world z-up: the inverse of `to_gltf_frame`."""
    x, y, z = points.unbind(-1)
    return torch.stack([x, -z, y], dim=-1)


def to_viewer_frame(points: Tensor) -> Tensor:
    """World z-up [..., 3] to the y-down frame of Gaussian viewers, (x, y, z) -> (x, -z, y)."""
    return from_gltf_frame(points)
