"""Encoder of the latent VAE: voxel features to structured latents."""

from dataclasses import dataclass

from torch import nn

from trellis.models.config import LatentTransformerConfig
from trellis.models.latent_transformer import LatentTransformer
from trellis.nn.blocks import run_head
from trellis.sparse import SparseTensor


@dataclass(frozen=True, kw_only=True)
class LatentEncoderConfig(LatentTransformerConfig):
    """in_channels: width of the features of a voxel."""

    in_channels: int


class LatentEncoder(LatentTransformer[LatentEncoderConfig]):
    """Posterior of the latent of each voxel, published as SLatEncoder."""

    def __init__(self, config: LatentEncoderConfig) -> None:
        super().__init__(config, in_channels=config.in_channels)
        self.out_layer = nn.Linear(config.model_channels, 2 * config.latent_channels)

    def forward(self, x: SparseTensor) -> tuple[SparseTensor, SparseTensor]:
        """x [N, in_channels] -> (mean [N, latent], logvar [N, latent])."""
        mean, logvar = run_head(self.out_layer, self.transform(x).feats).chunk(2, dim=1)
        return x.replace(mean), x.replace(logvar)
