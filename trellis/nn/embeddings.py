"""Embeddings of positions and of time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_FREQUENCIES = 128


def position_embedding(coords: Tensor, width: int) -> Tensor:
    """Absolute embedding, float32 [n, width], of integer coordinates [n, 3].

    F = width // 6 frequencies 10000^(-i / F); per axis [sin, cos], axes x, y, z, zero-padded to `width`.
    """
    count = width // 3 // 2
    frequencies = 10000.0 ** -(torch.arange(count, dtype=torch.float32, device=coords.device) / count)
    angles = coords.float()[..., None] * frequencies
    embedding = torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
    return F.pad(embedding, (0, width - embedding.shape[-1]))


class TimestepEmbedder(nn.Module):
    """Times [B] on the 0..1000 scale -> [B, C]: 128 frequencies [cos, sin], Linear, SiLU, Linear, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        index = torch.arange(TIME_FREQUENCIES, dtype=torch.float32, device=t.device)
        angles = t.float()[:, None] * torch.exp(-math.log(10000.0) * index / TIME_FREQUENCIES)
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1))
