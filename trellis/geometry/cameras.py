"""Cameras: OpenCV extrinsics (x right, y down, z forward), intrinsics normalised to the image.

World is z-up, the object lies in [-0.5, 0.5]^3 and its front is -y (docs/developer/model-facts.md, section 13).
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.geometry.hammersley import radical_inverse


@dataclass(frozen=True)
class Cameras:
    """V pinhole cameras: `extrinsics` [V, 4, 4] world to camera, `intrinsics` [V, 3, 3] in units of the image side."""

    extrinsics: Tensor
    intrinsics: Tensor

    def __len__(self) -> int:
        return self.extrinsics.shape[0]

    def __getitem__(self, index: slice) -> "Cameras":
        return Cameras(self.extrinsics[index], self.intrinsics[index])

    def __iter__(self) -> Iterator["Cameras"]:
        return (self[i : i + 1] for i in range(len(self)))

    def to(self, device: torch.device) -> "Cameras":
        return Cameras(self.extrinsics.to(device), self.intrinsics.to(device))

    @property
    def positions(self) -> Tensor:
        """Eye points [V, 3] in the world."""
        rotation = self.extrinsics[:, :3, :3]
        return -(rotation.transpose(1, 2) @ self.extrinsics[:, :3, 3:]).squeeze(-1)

    @property
    def fov(self) -> Tensor:
        """Horizontal field of view [V] in radians."""
        return 2 * torch.atan(0.5 / self.intrinsics[:, 0, 0])


def look_at(eyes: Tensor, targets: Tensor, up: Tensor) -> Tensor:
    """Extrinsics [V, 4, 4] of cameras at `eyes` [V, 3] looking at `targets` [V, 3] with `up` [V, 3] towards the top."""
    forward = torch.nn.functional.normalize(targets - eyes, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(-up, forward), dim=-1)
    down = torch.nn.functional.normalize(torch.linalg.cross(forward, right), dim=-1)
    rotation = torch.stack([right, down, forward], dim=1)
    extrinsics = torch.eye(4, dtype=eyes.dtype).repeat(len(eyes), 1, 1)
    extrinsics[:, :3, :3] = rotation
    extrinsics[:, :3, 3] = -(rotation @ eyes.unsqueeze(-1)).squeeze(-1)
    return extrinsics


def perspective(fov_degrees: float, count: int = 1) -> Tensor:
    """Normalised intrinsics [count, 3, 3] of a square image: focal length 0.5 / tan(fov / 2), centre 0.5."""
    focal = 0.5 / math.tan(math.radians(fov_degrees) / 2)
    matrix = torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])
    return matrix.repeat(count, 1, 1)


def orbit_cameras(
    yaws: Sequence[float], pitches: Sequence[float], *, radius: float = 2.0, fov_degrees: float = 40.0
) -> Cameras:
    """Cameras at `radius * (sin yaw cos pitch, cos yaw cos pitch, sin pitch)` looking at the origin; angles in radians.

    Yaw pi looks at the front of the object (world -y).
    """
    yaw = torch.tensor(list(yaws), dtype=torch.float64)
    pitch = torch.tensor(list(pitches), dtype=torch.float64)
    eyes = radius * torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(eyes)
    # At the poles the view direction and the up vector coincide; the yaw direction keeps the image upright there.
    polar = pitch.cos().abs() < 1e-6
    up = torch.where(
        polar[:, None], torch.stack([-yaw.sin(), -yaw.cos(), torch.zeros_like(yaw)], 1) * pitch.sign()[:, None], up
    )
    extrinsics = look_at(eyes, torch.zeros_like(eyes), up)
    return Cameras(extrinsics.float(), perspective(fov_degrees, len(eyes)))


def turntable_cameras(count: int) -> Cameras:
    """The published turntable, started at the front: one turn, pitch 0.25 + 0.5 sin(yaw)."""
    turn = [2 * math.pi * i / count for i in range(count)]
    yaws = [math.pi + angle for angle in turn]
    pitches = [0.25 + 0.5 * math.sin(angle) for angle in turn]
    return orbit_cameras(yaws, pitches, radius=2.0, fov_degrees=40.0)


def uniform_view_angles(count: int) -> list[tuple[float, float]]:
    """Yaw and pitch of `count` views spread evenly over the sphere (Hammersley points)."""
    views = []
    for i in range(count):
        pitch = math.acos(1 - 2 * i / count) - math.pi / 2
        views.append((2 * math.pi * radical_inverse(2, i), pitch))
    return views


def training_view_angles(count: int, draws: random.Random) -> list[tuple[float, float]]:
    """Yaw and pitch of `count` published training views, a quarter from below: Hammersley points, randomly begun."""
    across, around = draws.random(), draws.random()
    views = []
    for index in range(count):
        u = (index + across) / count
        u = 2 * u if u < 0.25 else 2 * u / 3 + 1 / 3
        # Published yaws count from x to y, ours from y to x.
        yaw = math.pi / 2 - 2 * math.pi * (radical_inverse(2, index) + around)
        views.append((yaw, math.acos(1 - 2 * u) - math.pi / 2))
    return views


def multiview_cameras(count: int, seed: str) -> Cameras:
    """Cameras of the views that a published encoder's features come from: 2 away with 40 degrees."""
    yaws, pitches = zip(*training_view_angles(count, random.Random(f"views {seed}")))
    return orbit_cameras(yaws, pitches, radius=2.0, fov_degrees=40.0)
