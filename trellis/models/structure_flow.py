"""Flow model of the sparse structure (stage 1): a transformer over a dense latent grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.models.config import FlowConfig
from trellis.models.flow_torso import flow_blocks, run_flow_blocks
from trellis.models.network import Network
from trellis.nn.blocks import adaptive_modulation, run_head
from trellis.nn.embeddings import TimestepEmbedder, position_embedding
from trellis.nn.inference import ConditionContext, run_blocks
from trellis.ops.segments import Segments


@dataclass(frozen=True, kw_only=True)
class StructureFlowConfig(FlowConfig):
    """Grid of `resolution`^3 with `in_channels`, cut into patches of `patch_size`^3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution % self.patch_size:
            raise InvalidInputError(f"resolution {self.resolution} is not a multiple of patch_size {self.patch_size}.")


class StructureFlow(Network[StructureFlowConfig]):
    """Velocity of structure latents, published as SparseStructureFlowModel."""

    pos_emb: Tensor

    def __init__(self, config: StructureFlowConfig) -> None:
        super().__init__(config)
        c, width, patch = config, config.model_channels, config.patch_size**3
        self.t_embedder = TimestepEmbedder(width)
        self.adaLN_modulation = adaptive_modulation(width) if c.share_mod else None
        with torch.device("cpu"):  # on the meta device this imports torch's compiler, seconds of a processor
            side = torch.arange(c.resolution // c.patch_size)
            grid = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
            self.register_buffer("pos_emb", position_embedding(grid, width))
        self.input_layer = nn.Linear(c.in_channels * patch, width)
        self.blocks = flow_blocks(c)
        self.out_layer = nn.Linear(width, c.out_channels * patch)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """x [B, C, r, r, r], t [B] on the 0..1000 scale, cond [B, L, Cc] -> velocity [B, C_out, r, r, r]."""
        count, length = x.shape[0], self.pos_emb.shape[0]
        tokens = self._embed(x).flatten(0, 1)
        time = self.t_embedder(t)
        modulation = time if self.adaLN_modulation is None else self.adaLN_modulation(time)
        modulation, cond = modulation.to(self.torso_dtype), cond.to(self.torso_dtype)
        segments = Segments((length,) * count, x.device)
        h = run_flow_blocks(self, self.blocks, tokens, modulation, cond=cond, segments=segments)
        return self._read_out(h, count)

    def evaluate(
        self, x: Tensor, time: Tensor, modulations: Tensor, contexts: Sequence[Sequence[ConditionContext]]
    ) -> Tensor:
        """Velocities [B, C_out, r, r, r] of one state x [1, C, r, r, r] under B conditions, without gradients.

        time is not needed here; modulations [L, 6, C]: see `FlowSession`, which prepares all three.
        """
        tokens = self._embed(x)[0]
        return self._read_out(run_blocks(list(self.blocks), tokens, modulations, contexts), len(contexts))  # type: ignore[arg-type]

    def _embed(self, x: Tensor) -> Tensor:
        """Tokens [B, T, width] in the torso's precision."""
        return (self.input_layer(self._patchify(x)) + self.pos_emb).to(self.torso_dtype)

    def _read_out(self, h: Tensor, count: int) -> Tensor:
        return self._unpatchify(run_head(self.out_layer, h).unflatten(0, (count, -1)))

    def _patchify(self, x: Tensor) -> Tensor:
        """[B, C, r, r, r] -> tokens [B, (r/p)^3, C p^3] in x-major order, channel c * p^3 + offset."""
        p, side = self.config.patch_size, self.config.resolution // self.config.patch_size
        b, c = x.shape[:2]
        x = x.reshape(b, c, side, p, side, p, side, p).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return x.reshape(b, side**3, c * p**3)

    def _unpatchify(self, tokens: Tensor) -> Tensor:
        p, side = self.config.patch_size, self.config.resolution // self.config.patch_size
        b = tokens.shape[0]
        x = tokens.reshape(b, side, side, side, -1, p, p, p).permute(0, 4, 1, 5, 2, 6, 3, 7)
        return x.reshape(b, -1, side * p, side * p, side * p)
