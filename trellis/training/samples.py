"""Pictures of what a flow makes of a few objects, beside what it should make: needs a decoder."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trellis.errors import CheckpointError, FetchError
from trellis.families.location import find_model
from trellis.families.registry import FAMILIES
from trellis.geometry.cameras import orbit_cameras
from trellis.models import SamplerConfig, load_model
from trellis.rendering.gaussians import render_gaussians
from trellis.runtime import Runtime
from trellis.sparse import SparseTensor
from trellis.training.generate import decode_gaussians

COUNT = 4  # objects of a picture
SAMPLER = SamplerConfig(steps=12, cfg_strength=3.0, cfg_interval=(0.0, 1.0), rescale_t=3.0)
_SIDE = 192  # pixels of an object
_VIEW = orbit_cameras([math.pi + 0.5], [0.3])


def find_decoder(stem: str | None, runtime: Runtime, device: torch.device) -> nn.Module | None:
    """The decoder of a file, or `owner/name/ckpts/network` of a model that is on this machine; None where it is not."""
    if stem is None:
        return None
    path, parts = Path(stem), stem.split("/")
    try:
        if not path.with_name(f"{path.name}.json").is_file():
            model = find_model("/".join(parts[:2]), runtime=runtime, families=FAMILIES)
            inner = "/".join(parts[2:])
            path = model.file(f"{inner}.safetensors").with_name(model.file(f"{inner}.json").stem)
        network: nn.Module = load_model(path)
    except (CheckpointError, FetchError):
        return None
    return network.to(device).requires_grad_(False)


def draw_structures(decoder: nn.Module, latents: Tensor) -> list[Image.Image]:
    """The voxels of structure latents [B, C, r, r, r] from the front, nearer ones brighter."""
    return [_draw_voxels(logits[0] > 0) for logits in decoder(latents)]


def _draw_voxels(occupied: Tensor) -> Image.Image:
    seen = occupied.any(1)
    depth = occupied.float().argmax(1) / occupied.shape[1]
    shades = torch.where(seen, 255 * (1 - 0.8 * depth), 0.0).T.flip(0)  # rows: from the top down
    picture = Image.fromarray(shades.byte().cpu().numpy()).convert("RGB")
    return picture.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)


def draw_gaussians(decoder: nn.Module, latents: SparseTensor) -> list[Image.Image]:
    """The Gaussians of structured latents, from the front and a little from above."""
    pictures = [render_gaussians(cloud, _VIEW, size=_SIDE).color[0] for cloud in decode_gaussians(decoder, latents)]
    return [to_image(color) for color in pictures]


def to_image(color: Tensor) -> Image.Image:
    return Image.fromarray((color.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy())


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures of one size in rows."""
    lines = [np.concatenate([np.asarray(picture) for picture in row], 1) for row in rows]
    return Image.fromarray(np.concatenate(lines, 0))
