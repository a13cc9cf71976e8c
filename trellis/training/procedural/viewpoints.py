"""From where, and in what light, pictures of procedural objects are taken."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from trellis.geometry.cameras import Cameras, look_at
from trellis.training.procedural.draws import Draws


@dataclass(frozen=True)
class Lights:
    """Light of B*V pictures: direction towards the key light [n, 3], its colour and the sky's and ground's [n, 3]."""

    direction: Tensor
    key: Tensor
    sky: Tensor
    ground: Tensor
    exposure: Tensor


def place_cameras(draws: Draws, yaw: Tensor, pitch: Tensor, fov: Tensor) -> Cameras:
    """Orbit cameras at angles [n] in degrees, `yaw` from the front, so far away that the cube fits about."""
    yaw, pitch, fov = math.pi + yaw.deg2rad(), pitch.deg2rad(), fov.deg2rad()
    radius = 0.75 / (fov / 2).sin() * draws.uniform(0.95, 1.15)
    eyes = radius[:, None] * torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], 1)
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(eyes)
    intrinsics = torch.zeros(len(draws), 3, 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = 0.5 / (fov / 2).tan()
    intrinsics[:, 0, 2] = intrinsics[:, 1, 2] = 0.5
    intrinsics[:, 2, 2] = 1
    return Cameras(look_at(eyes, torch.zeros_like(eyes), up), intrinsics)


def draw_cameras(draws: Draws) -> Cameras:
    """Random orbit cameras: yaw within 75 degrees of the front, elevation -10..40, field of view 20..50 degrees."""
    return place_cameras(draws, draws.uniform(-75, 75), draws.uniform(-10, 40), draws.uniform(20, 50))


def draw_lights(draws: Draws, cameras: Cameras) -> Lights:
    """Key light from the camera's upper half space, tinted sky and ground light, exposure 0.85..1.2."""
    side, above = draws.uniform(-1.1, 1.1), draws.uniform(0.3, 1.3)
    right, down, forward = cameras.extrinsics[:, :3, :3].unbind(1)
    direction = normalize(
        side[:, None] * right - above[:, None] * down - draws.uniform(0.4, 1.1)[:, None] * forward, dim=-1
    )
    warmth = draws.uniform(-0.06, 0.06)
    key = torch.stack([1 + warmth, torch.ones_like(warmth), 1 - warmth], -1) * draws.uniform(0.55, 0.85)[:, None]
    sky = torch.stack([1 - warmth, torch.ones_like(warmth), 1 + warmth], -1) * draws.uniform(0.4, 0.6)[:, None]
    ground = sky * draws.uniform(0.45, 0.8)[:, None]
    return Lights(direction, key, sky, ground, draws.uniform(0.85, 1.2))


def neutral_lights(cameras: Cameras) -> Lights:
    """One fixed light over the camera's left shoulder for every view."""
    right, down, forward = cameras.extrinsics[:, :3, :3].cpu().unbind(1)
    direction = normalize(-0.6 * right - 0.9 * down - 0.8 * forward, dim=-1)
    white = torch.ones_like(direction)
    return Lights(direction, 0.7 * white, 0.5 * white, 0.33 * white, torch.ones(len(direction)))
