"""Pictures as people take them: their cameras, light from anywhere, careless cut-outs, blur and noise.

Everything follows from draws of the pictures, one entry each, so a picture does not depend on its batch.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.ops.transfers import sent
from trellis.training.procedural.draws import Draws, hash_integers
from trellis.training.procedural.viewpoints import Lights, place_cameras

_PIECE = 256  # pictures worked on at once
_REACH = 9  # pixels around the outline in which background is left over
_SPARE = 0.12  # share of the window's side by which it is too large or beside the object, at most


def everyday_cameras(draws: Draws) -> Cameras:
    """Most from the front left or right and a little above, some straight on or steep; phones to portrait lenses."""
    side = torch.where(draws.chance(0.5), 1.0, -1.0)
    three_quarters = side * draws.uniform(20, 60)
    yaw = torch.where(draws.chance(0.75), three_quarters, draws.uniform(-75, 75))
    pitch = torch.where(draws.chance(0.75), draws.uniform(5, 35), draws.uniform(-12, 60))
    return place_cameras(draws, yaw, pitch, draws.uniform(15, 60))


def everyday_lights(draws: Draws) -> Lights:
    """A lamp or the sun from any side, also from behind; strong or hardly there, warm or cold; dark to bright."""
    turn, height = draws.uniform(0, 2 * math.pi), draws.uniform(-0.25, 1.0)
    flat = (1 - height * height).sqrt()
    direction = torch.stack([flat * turn.cos(), flat * turn.sin(), height], -1)
    strength = draws.uniform(0.1, 1.1)
    warmth, cast = draws.uniform(-0.18, 0.18), draws.uniform(-0.08, 0.08)

    def tinted(warm: Tensor, value: Tensor) -> Tensor:
        return torch.stack([1 + warm, 1 + cast, 1 - warm], -1) * value[:, None]

    sky = tinted(-warmth * 0.6, 0.75 - 0.4 * strength + draws.uniform(-0.1, 0.15))
    ground = sky * draws.uniform(0.3, 1.0)[:, None]
    return Lights(direction, tinted(warmth, strength), sky, ground, draws.uniform(0.7, 1.35))


def loosened(windows: Cameras, draws: Draws, chosen: Tensor) -> Cameras:
    """The windows of the chosen pictures too large or a little beside the object, as careless cut-outs frame it."""
    none = torch.zeros(len(draws))
    grow = 1 + torch.where(chosen, draws.uniform(0, 2 * _SPARE) * draws.unit(), none)
    x, y = (torch.where(chosen, draws.uniform(-0.5, 0.5) * (grow - 1), none) for _ in range(2))
    place = windows.intrinsics.device
    intrinsics = windows.intrinsics.clone()
    intrinsics[:, :2] /= grow.to(place)[:, None, None]
    shift = torch.stack([x, y], 1) + 0.5 * (1 - 1 / grow)[:, None]
    intrinsics[:, :2, 2] += shift.to(place)
    return Cameras(windows.extrinsics, intrinsics)


def soft(pictures: Tensor) -> Tensor:
    """Pictures [n, C, H, W] blurred by a 3 x 3 binomial."""
    line = sent(torch.tensor([0.25, 0.5, 0.25], dtype=pictures.dtype), pictures.device)
    kernel = (line[:, None] * line).expand(pictures.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel, groups=pictures.shape[1])


def photographed(images: Tensor, draws: Draws, chosen: Tensor) -> Tensor:
    """uint8 [n, H, W, 4] straight RGBA with the faults of photographs and of their cut-outs where `chosen` [n]."""
    numbers = {name: torch.stack([draws.unit() for _ in range(count)], 1) for name, count in _NUMBERS.items()}
    seeds = (draws.unit().double() * 2**24).long() * 2**24 + (draws.unit().double() * 2**24).long()
    result = images.clone()
    for rows in chosen.nonzero()[:, 0].split(_PIECE):
        here = rows.to(images.device)
        part = images[here].permute(0, 3, 1, 2).float() / 255
        drawn = {name: values[rows].to(images.device)[..., None, None] for name, values in numbers.items()}
        made = _spoil(part, drawn, seeds[rows].to(images.device))
        result[here] = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return result


_NUMBERS = {"ground": 6, "edge": 2, "hole": 2, "rest": 2, "tone": 3, "blur": 2, "noise": 1}


def _spoil(picture: Tensor, numbers: dict[str, Tensor], seeds: Tensor) -> Tensor:
    """[n, 4, H, W] in 0..1; `numbers` by name [n, k, 1, 1] in 0..1, `seeds` int64 [n]."""
    side = picture.shape[-1]
    alpha = picture[:, 3:]
    ground = numbers["ground"][:, :3] + 0.5 * numbers["ground"][:, 3:] * (_clouds(seeds, 0, 5, side, 3) - 0.5)
    color = picture[:, :3] * alpha + ground.clamp(0, 1) * (1 - alpha)
    cut = _careless(alpha, numbers, seeds)
    once = soft(color)
    blur = 2 * numbers["blur"][:, :1] ** 2
    color = color + (once - color) * blur.clamp(0, 1) + (soft(once) - once) * (blur - 1).clamp(0, 1)
    grey = color.mean(1, keepdim=True)
    gamma, contrast, colorful = ((0.75 + 0.5 * value) for value in numbers["tone"].split(1, 1))
    color = ((grey + (color - grey) * colorful).clamp(1e-3, 1) ** gamma - 0.5) * contrast + 0.5
    grains = _grains(seeds, color.shape[1:]) - 0.5
    return torch.cat([color + grains * 0.18 * numbers["noise"] ** 2, cut], 1)


def _careless(alpha: Tensor, numbers: dict[str, Tensor], seeds: Tensor) -> Tensor:
    """The cut-out [n, 1, H, W] by a worse knife: edges outside or inside of the true one, holes, and leftovers."""
    side = alpha.shape[-1]
    wide = soft(soft(alpha))
    sharp = 1.5 + 3 * numbers["edge"][:, 1:]
    cut = ((wide - (0.2 + 0.55 * numbers["edge"][:, :1])) * sharp + 0.5).clamp(0, 1)
    cut = torch.where(numbers["edge"][:, :1] < 0.25, alpha, cut)
    holes = _clouds(seeds, 1, 9, side, 1) > 0.72 + 0.25 * numbers["hole"][:, :1]
    cut = torch.where(holes & (numbers["hole"][:, 1:] < 0.25), cut * 0.1, cut)
    around = F.max_pool2d(alpha, 2 * _REACH + 1, stride=1, padding=_REACH) > 0.5
    left = around & (_clouds(seeds, 2, 7, side, 1) > 0.68 + 0.25 * numbers["rest"][:, :1])
    return torch.where(left & (numbers["rest"][:, 1:] < 0.35), cut.clamp_min(0.9), cut)


def _grains(seeds: Tensor, shape: torch.Size) -> Tensor:
    """Even noise [n, *shape] in 0..1, of each seed int64 [n]."""
    place = torch.arange(shape.numel(), device=seeds.device)
    bits = hash_integers(seeds[:, None] + place, 5)
    return (((bits >> 40) & 0xFFFF).float() / 0xFFFF).reshape(-1, *shape)


def _clouds(seeds: Tensor, number: int, cells: int, side: int, channels: int) -> Tensor:
    """Smooth noise [n, channels, side, side] around 0.5, `cells` swellings along a side."""
    grid = _grains(seeds + (number + 1) * 7_368_787, torch.Size((channels, cells, cells)))
    return F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=True)
