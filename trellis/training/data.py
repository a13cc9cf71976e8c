"""Which objects a stage trains on and which it is measured with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.training.config import DataConfig
from trellis.training.procedural import FAMILIES, HELD_OUT_SEEDS, ObjectBatch, render_pictures, sample_objects


def training_families(config: DataConfig) -> list[str]:
    """The chosen families but those held out. Raises InvalidInputError for an unknown one, or when none is left."""
    for key, names in (("families", config.families), ("hold_out", config.hold_out)):
        unknown = sorted(set(names) - set(FAMILIES))
        if unknown:
            raise InvalidInputError(f"Unknown families {unknown} in data.{key}; choose from {', '.join(FAMILIES)}.")
    chosen = [name for name in config.families or FAMILIES if name not in config.hold_out]
    if not chosen:
        raise InvalidInputError("data.hold_out leaves no family to train on.")
    return chosen


def sample_chunk(config: DataConfig, number: int, device: torch.device) -> ObjectBatch:
    """The training objects of chunk `number`, all of one family; the families take turns.

    Every family is a program of its own: a chunk of one costs an accelerator a thirtieth of the kernel launches of a
    mixed chunk, and a pool of many chunks is as mixed.
    """
    families = training_families(config)
    first = config.seed + number * config.chunk
    seeds = torch.arange(first, first + config.chunk)
    return sample_objects(seeds, [families[number % len(families)]], device=device)


def held_out_batch(config: DataConfig, device: torch.device, *, count: int | None = None) -> ObjectBatch:
    """Objects of known families with seeds never trained on."""
    first = HELD_OUT_SEEDS.start
    seeds = torch.arange(first, first + (count or config.held_out_objects))
    return sample_objects(seeds, training_families(config), device=device)


def condition_pictures(
    objects: ObjectBatch, dense: Tensor, *, views: int, size: int, seed: int = 0, supersampling: int = 2
) -> Tensor:
    """Framed pictures on black as the image encoder reads them: uint8 [B, V, 3, size, size]."""
    rgba = render_pictures(objects, views=views, size=size, seed=seed, dense=dense, supersampling=supersampling).images
    return on_black(rgba)


def soften(pictures: Tensor, chosen: Tensor) -> Tensor:
    """Blur the chosen pictures [B, 3, H, W] by a 3 x 3 binomial: rendered edges are harder than reduced photos'."""
    line = pictures.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return torch.where(chosen.view(-1, 1, 1, 1), blurred, pictures)


def on_black(rgba: Tensor) -> Tensor:
    """uint8 [..., H, W, 4] -> uint8 [..., 3, H, W]: colours times alpha, truncated as the conditioning does it."""
    values = rgba.float() / 255
    return (values[..., :3] * values[..., 3:] * 255).to(torch.uint8).movedim(-1, -3).contiguous()
