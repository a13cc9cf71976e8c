"""The flow of a Hunyuan3D-2 shape model: from noise to a latent that is a set of vectors, under pictures."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.models.network import Torso
from trellis.models.vecset_sizes import FlowSizes
from trellis.nn.blocks import BLOCK_EPS
from trellis.nn.vecset import DoubleBlock, SingleBlock, Streams, WaveEmbedder
from trellis.ops.segments import Segments


class FinalLayer(nn.Module):
    """Modulated norm and Linear, in float32."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [..., C], time [1, C] before its SiLU."""
        shift, scale = self.adaLN_modulation(time)[0].chunk(2)
        return self.linear(F.layer_norm(x.float(), shift.shape, 1 + scale, shift, BLOCK_EPS))


class VecsetFlow(Torso):
    """Velocity of latents [B, L, c], without a gradient; tokens have no positions.

    Source: docs/developer/hunyuan-facts.md, section 2.
    """

    TORSO = ("cond_in", "double_blocks", "single_blocks")

    def __init__(self, config: FlowSizes) -> None:
        super().__init__()
        self.config = config
        width, heads, ratio = config.hidden_size, config.num_heads, config.mlp_ratio
        self.latent_in = nn.Linear(config.in_channels, width)
        self.time_in = WaveEmbedder(width)
        self.cond_in = nn.Linear(config.context_in_dim, width)
        self.guidance_in = WaveEmbedder(width) if config.guidance_embed else None
        self.double_blocks = nn.ModuleList(DoubleBlock(width, heads, ratio) for _ in range(config.depth))
        self.single_blocks = nn.ModuleList(SingleBlock(width, heads, ratio) for _ in range(config.depth_single_blocks))
        self.final_layer = FinalLayer(width, config.in_channels)

    @property
    def blocks_in_order(self) -> Sequence[nn.Module]:
        """What holds nearly all weights, see `trellis.memory.InBlocks`."""
        return [*self.double_blocks, *self.single_blocks]

    def forward(self, x: Tensor, time: float, tokens: Tensor, *, guidance: float | None = None) -> Tensor:
        """x [B, L, c] at `time` (0: noise, 1: latent) under tokens [B, T, Cc] -> velocity float32 [B, L, c].

        guidance: its strength, for a flow that has it as an input, and for no other; else InvalidInputError.
        """
        if (guidance is None) != (self.guidance_in is None):
            raise InvalidInputError("A guidance strength belongs to a flow that was distilled for it, and to no other.")
        embedded = self.time_in(time)
        if self.guidance_in is not None:
            embedded = embedded + self.guidance_in(guidance)
        activated, dtype = F.silu(embedded), self.torso_dtype
        image = self.latent_in(x.float()).to(dtype).flatten(0, 1)
        text = self.cond_in(tokens.to(dtype)).flatten(0, 1)
        samples, length = x.shape[0], x.shape[1] + tokens.shape[1]
        streams = Streams(samples, tokens.shape[1], Segments((length,) * samples, x.device))
        for block in self.double_blocks:
            block(image, text, time=activated, streams=streams)
        both = streams.joined(text, image)
        for block in self.single_blocks:
            block(both, time=activated, streams=streams)
        return self.final_layer(streams.parted(both)[1].unflatten(0, (samples, -1)), embedded)
