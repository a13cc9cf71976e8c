"""Batched generation on one device, for metrics: pictures in, structures, latents and features out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trellis.sampling import euler_sample, guide, initial_noise
from trellis.sparse import SparseTensor


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of one sampler, as in pipeline.json."""

    steps: int = 25
    cfg_strength: float = 3.0
    cfg_interval: tuple[float, float] = (0.0, 1.0)
    rescale_t: float = 3.0


def _sample(velocity: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, cond: Tensor, s: SamplerSettings) -> Tensor:
    batch, empty = cond.shape[0], torch.zeros_like(cond)

    def towards(condition: Tensor) -> Callable[[Tensor, float], Tensor]:
        return lambda x, t: velocity(x, torch.full((batch,), t, device=x.device), condition).float()

    guided = guide(towards(cond), towards(empty), strength=s.cfg_strength, interval=s.cfg_interval)
    return euler_sample(guided, noise, steps=s.steps, rescale_t=s.rescale_t)


@torch.no_grad()
def sample_structure(flow: nn.Module, cond: Tensor, *, settings: SamplerSettings, seed: int) -> Tensor:
    """Structure latents [B, C, r, r, r] for condition tokens [B, L, Cc]; noise is drawn on the CPU from `seed`."""
    config = flow.config
    side = int(config.resolution)  # type: ignore[union-attr, arg-type]
    shape = (cond.shape[0], int(config.in_channels), side, side, side)  # type: ignore[union-attr, arg-type]
    noise = initial_noise(shape, torch.Generator().manual_seed(seed)).to(cond.device)
    return _sample(lambda x, t, c: flow(x, t, c), noise, cond, settings)


@torch.no_grad()
def sample_latents(
    flow: nn.Module, coords: Tensor, cond: Tensor, *, resolution: int, settings: SamplerSettings, seed: int
) -> SparseTensor:
    """Normalised latents on voxels `coords` [N, 4] of B objects with condition tokens [B, L, Cc]."""
    channels = int(flow.config.in_channels)  # type: ignore[union-attr, arg-type]
    noise = initial_noise((len(coords), channels), torch.Generator().manual_seed(seed)).to(cond.device)
    start = SparseTensor.create(noise, coords, resolution=resolution, batch_size=cond.shape[0])
    feats = _sample(lambda x, t, c: flow(start.replace(x), t, c).feats, noise, cond, settings)
    return start.replace(feats)
