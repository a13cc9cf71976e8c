"""Decoders of the latent VAE: structured latents to the raw features of a representation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.geometry.hammersley import offset_perturbation
from trellis.models.config import LatentTransformerConfig
from trellis.models.latent_transformer import LatentTransformer
from trellis.nn.blocks import run_block, run_head
from trellis.nn.conv import SubdivideBlock
from trellis.nn.decoding import CHUNK_BYTES, run_subdivision
from trellis.sparse import SparseTensor

GAUSSIAN_VALUES = 14  # position 3, colour 3, scale 3, rotation 4, opacity 1
MESH_VALUES = 53  # signed distance 8, deformation 24, weights 21
MESH_COLOR_VALUES = 48  # colour and normal of 8 corners


@dataclass(frozen=True, kw_only=True)
class LatentDecoderConfig(LatentTransformerConfig):
    """`representation_config` says what a voxel's features mean; the network reads only the sizes in it."""

    def representation(self, key: str) -> Any:
        """A required entry of `representation_config`."""
        if key not in self.representation_config:
            raise InvalidInputError(f"representation_config lacks {key!r}.")
        return self.representation_config[key]


class GaussianDecoder(LatentTransformer[LatentDecoderConfig]):
    """`num_gaussians` Gaussians a voxel, published as SLatGaussianDecoder.

    The buffer `offset_perturbation` [G, 3] spreads the Gaussians of a voxel (docs/developer/model-facts.md, section 7).
    """

    offset_perturbation: Tensor

    def __init__(self, config: LatentDecoderConfig) -> None:
        super().__init__(config, in_channels=config.latent_channels)
        count = config.representation("num_gaussians")
        with torch.device("cpu"):  # on the meta device this imports torch's compiler, seconds of a processor
            perturbation = torch.zeros(count, 3)
            if config.representation("perturb_offset"):
                perturbation = offset_perturbation(count, config.representation("voxel_size"))
            self.register_buffer("offset_perturbation", perturbation)
        self.out_layer = nn.Linear(config.model_channels, count * GAUSSIAN_VALUES)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Latents [N, 8] -> raw features [N, G * 14], to be read by `GaussianCloud.from_features`."""
        return x.replace(run_head(self.out_layer, self.transform(x).feats))


class RadianceFieldDecoder(LatentTransformer[LatentDecoderConfig]):
    """A small radiance field of rank R and size D a voxel, published as SLatRadianceFieldDecoder."""

    def __init__(self, config: LatentDecoderConfig) -> None:
        super().__init__(config, in_channels=config.latent_channels)
        rank, dim = config.representation("rank"), config.representation("dim")
        self.out_layer = nn.Linear(config.model_channels, rank * (3 * dim + 4))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Latents [N, 8] -> raw features [N, R * 3 * D + R + R * 3]."""
        return x.replace(run_head(self.out_layer, self.transform(x).feats))


class MeshDecoder(LatentTransformer[LatentDecoderConfig]):
    """FlexiCubes parameters of the 64 fine voxels of each voxel, published as SLatMeshDecoder."""

    def __init__(self, config: LatentDecoderConfig) -> None:
        super().__init__(config, in_channels=config.latent_channels)
        width = config.model_channels
        if width % 256:
            raise InvalidInputError(f"The mesh decoder's model_channels must be a multiple of 256, got {width}.")
        color = MESH_COLOR_VALUES if config.representation_config.get("use_color", False) else 0
        self.upsample = nn.ModuleList([SubdivideBlock(width, width // 4), SubdivideBlock(width // 4, width // 8)])
        self.out_layer = nn.Linear(width // 8, MESH_VALUES + color)

    def forward(self, x: SparseTensor, *, chunk_bytes: int = CHUNK_BYTES) -> SparseTensor:
        """Latents [N, 8] -> features [64 N, 101] (53 without colour) at 4 times the resolution.

        Without gradients the last stages go by rows, in about `chunk_bytes` beside what they must hold.
        """
        h = self.transform(x)
        if not torch.is_grad_enabled():
            first, last = self.upsample
            h = run_subdivision(first, h, chunk_bytes=chunk_bytes)  # type: ignore[arg-type]
            return run_subdivision(last, h, head=self.out_layer, chunk_bytes=chunk_bytes)  # type: ignore[arg-type]
        for block in self.upsample:
            h = run_block(block, h, recompute=self.recompute)  # type: ignore[assignment]
        return h.replace(run_head(self.out_layer, h.feats, norm=False))
