"""Sparse structure VAE: a dense 3D convolutional network between an occupancy grid and its latents."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trellis.models.config import ModelConfig
from trellis.models.network import Network
from trellis.nn.blocks import run_block
from trellis.nn.conv import DenseDownsample, DenseResidualBlock, DenseUpsample
from trellis.nn.inference import activate_grid, run_dense_residual
from trellis.nn.norm import ChannelLayerNorm


@dataclass(frozen=True, kw_only=True)
class StructureVAEConfig(ModelConfig):
    """channels: width of each level, in the order the network walks them."""

    latent_channels: int
    num_res_blocks: int
    channels: tuple[int, ...]
    num_res_blocks_middle: int = 2


@dataclass(frozen=True, kw_only=True)
class StructureEncoderConfig(StructureVAEConfig):
    """in_channels: 1 for occupancy."""

    in_channels: int


@dataclass(frozen=True, kw_only=True)
class StructureDecoderConfig(StructureVAEConfig):
    """out_channels: 1 for occupancy logits."""

    out_channels: int


def _run(blocks: Iterable[nn.Module], h: Tensor, *, recompute: bool) -> Tensor:
    """The blocks in turn."""
    for block in blocks:
        if isinstance(block, DenseResidualBlock) and not torch.is_grad_enabled():
            h = run_dense_residual(block, h)
        else:
            h = run_block(block, h, recompute=recompute)
    return h


def _middle(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(DenseResidualBlock(width, width) for _ in range(count)))


def _head(width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(ChannelLayerNorm(width), nn.SiLU(), nn.Conv3d(width, out_width, 3, padding=1))


class StructureEncoder(Network[StructureEncoderConfig]):
    """Occupancy to the posterior of its latents, published as SparseStructureEncoder."""

    def __init__(self, config: StructureEncoderConfig) -> None:
        super().__init__(config)
        c, widths = config, config.channels
        self.input_layer = nn.Conv3d(c.in_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            self.blocks.extend(DenseResidualBlock(width, width) for _ in range(c.num_res_blocks))
            if level + 1 < len(widths):
                self.blocks.append(DenseDownsample(width, widths[level + 1]))
        self.middle_block = _middle(widths[-1], c.num_res_blocks_middle)
        self.out_layer = _head(widths[-1], 2 * c.latent_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, 1, R, R, R] in 0..1 -> (mean, logvar), each [B, latent, r, r, r]; r halves per level."""
        h = self.input_layer(x).to(self.torso_dtype)
        h = _run([*self.blocks, *self.middle_block], h, recompute=self.recompute)
        mean, logvar = self.out_layer(h.to(x.dtype)).chunk(2, dim=1)
        return mean, logvar


class StructureDecoder(Network[StructureDecoderConfig]):
    """Latents to occupancy logits, published as SparseStructureDecoder; a voxel is occupied where the logit > 0."""

    def __init__(self, config: StructureDecoderConfig) -> None:
        super().__init__(config)
        c, widths = config, config.channels
        self.input_layer = nn.Conv3d(c.latent_channels, widths[0], 3, padding=1)
        self.middle_block = _middle(widths[0], c.num_res_blocks_middle)
        self.blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            self.blocks.extend(DenseResidualBlock(width, width) for _ in range(c.num_res_blocks))
            if level + 1 < len(widths):
                self.blocks.append(DenseUpsample(width, widths[level + 1]))
        self.out_layer = _head(widths[-1], c.out_channels)

    def forward(self, z: Tensor) -> Tensor:
        """z [B, latent, r, r, r] -> logits [B, 1, R, R, R]."""
        h = self.input_layer(z).to(self.torso_dtype)
        h = _run([*self.middle_block, *self.blocks], h, recompute=self.recompute)
        norm, _, conv = self.out_layer
        if not torch.is_grad_enabled():
            return conv(activate_grid(h, norm, dtype=z.dtype))  # type: ignore[arg-type]
        return self.out_layer(h.to(z.dtype))


FIT_LENGTH = 0.05  # the mean change of a number in each step of a fit


def fitted_latent(
    decoder: StructureDecoder, latent: Tensor, free: Tensor, loss: Callable[[Tensor], Tensor], *, steps: int
) -> Tensor:
    """A latent grid [1, C, r, r, r], moved where `free` (bool, broadcast to it) by steps down the gradient of `loss`.

    loss: of the decoder's logits [R, R, R].
    """
    with torch.inference_mode(False), torch.enable_grad():  # what autograd works with must have been made so
        x, mask = latent.clone(), free.clone().expand_as(latent)
        for _ in range(steps):
            [slope] = torch.autograd.grad(loss(decoder(x.requires_grad_())[0, 0].float()), x)
            slope = slope / slope[mask].square().mean().sqrt().clamp_min(1e-12)
            x = torch.where(mask, x - FIT_LENGTH * slope.clamp(-3, 3), x).detach()
    return x
