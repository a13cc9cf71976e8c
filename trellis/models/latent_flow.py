"""Flow model of the structured latents (stage 2): sparse convolutions around a transformer on the coarse voxels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.models.config import FlowConfig
from trellis.models.flow_torso import flow_blocks, run_flow_blocks
from trellis.models.network import Network
from trellis.nn.blocks import adaptive_modulation, run_head
from trellis.nn.conv import SparseResidualBlock
from trellis.nn.embeddings import TimestepEmbedder, position_embedding
from trellis.nn.inference import ConditionContext, run_blocks, run_residual
from trellis.sparse import SparseTensor, VoxelLayout, coarser, repeated


@dataclass(frozen=True, kw_only=True)
class LatentFlowConfig(FlowConfig):
    """io_block_channels: widths of the levels around the transformer, one for each halving by `patch_size`."""

    num_io_res_blocks: int = 2
    io_block_channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 ** len(self.io_widths) != self.patch_size:
            raise InvalidInputError(
                f"patch_size {self.patch_size} needs log2(patch_size) io_block_channels, got {self.io_widths}."
            )
        if self.num_io_res_blocks < 1:
            raise InvalidInputError("num_io_res_blocks must be at least 1.")

    @property
    def io_widths(self) -> tuple[int, ...]:
        return self.io_block_channels or ()


class LatentFlow(Network[LatentFlowConfig]):
    """Velocity of structured latents, published as SLatFlowModel."""

    def __init__(self, config: LatentFlowConfig) -> None:
        super().__init__(config)
        c, width = config, config.model_channels
        widths = (*c.io_widths, width)
        self.t_embedder = TimestepEmbedder(width)
        self.adaLN_modulation = adaptive_modulation(width) if c.share_mod else None
        self.input_layer = nn.Linear(c.in_channels, widths[0])
        self.input_blocks = nn.ModuleList()
        self.out_blocks = nn.ModuleList()
        for inner, outer in pairwise(widths):
            for _ in range(c.num_io_res_blocks - 1):
                self.input_blocks.append(SparseResidualBlock(inner, inner, time_width=width))
            self.input_blocks.append(SparseResidualBlock(inner, outer, time_width=width, resample="down"))
        self.blocks = flow_blocks(c)
        for inner, outer in zip(widths[-2::-1], widths[:0:-1]):
            self.out_blocks.append(SparseResidualBlock(2 * outer, inner, time_width=width, resample="up"))
            for _ in range(c.num_io_res_blocks - 1):
                self.out_blocks.append(SparseResidualBlock(2 * inner, inner, time_width=width))
        self.out_layer = nn.Linear(widths[0], c.out_channels)

    def forward(self, x: SparseTensor, t: Tensor, cond: Tensor) -> SparseTensor:
        """x [N, C] at `resolution`, t [B] on the 0..1000 scale, cond [B, L, Cc] -> velocity [N, C_out]."""
        time = self.t_embedder(t)
        modulation = time if self.adaLN_modulation is None else self.adaLN_modulation(time)
        time, modulation, cond = (part.to(self.torso_dtype) for part in (time, modulation, cond))
        h = x.replace(self.input_layer(x.feats).to(self.torso_dtype))
        skips: list[Tensor] = []
        fine: list[VoxelLayout] = []
        for block in self.input_blocks:
            if block.resample == "down":
                fine.append(h.layout)
            h = block(h, time)
            skips.append(h.feats)
        h = self._transform(h, modulation, cond)
        for block in self.out_blocks:
            h = h.replace(torch.cat([h.feats, skips.pop()], 1))
            h = block(h, time, fine=fine.pop() if block.resample == "up" else None)
        return h.replace(run_head(self.out_layer, h.feats))

    def evaluate(
        self, x: SparseTensor, time: Tensor, modulations: Tensor, contexts: Sequence[Sequence[ConditionContext]]
    ) -> Tensor:
        """Velocities [B N, C_out] of one state x [N, C] under B conditions, without gradients.

        time [C] and modulations [L, 6, C]: see `FlowSession`, which prepares all three. What precedes the first
        condition is computed once for all of them.
        """
        h = x.replace(self.input_layer(x.feats).to(self.torso_dtype))
        skips: list[Tensor] = []
        fine = [repeated(x.layout, len(contexts))]
        for block in self.input_blocks:
            if block.resample == "down":
                fine.append(coarser(fine[-1]).layout)
            h = run_residual(block, h, time)  # type: ignore[arg-type]
            skips.append(h.feats)
        tokens = run_blocks(list(self.blocks), h.feats + self._position(h.layout), modulations, contexts)  # type: ignore[arg-type]
        h = SparseTensor(tokens, fine.pop())
        for block in self.out_blocks:
            skip = skips.pop().repeat(len(contexts), 1)
            h = h.replace(torch.cat([h.feats, skip], 1))
            h = run_residual(block, h, time, fine=fine.pop() if block.resample == "up" else None)  # type: ignore[arg-type]
        return run_head(self.out_layer, h.feats)

    def _position(self, layout: VoxelLayout) -> Tensor:
        """Position embedding [N, width] of the voxels in the torso's precision."""
        width, dtype = self.config.model_channels, self.torso_dtype
        return layout.cached(
            ("position", width, dtype), lambda: position_embedding(layout.coords[:, 1:], width).to(dtype)
        )

    def _transform(self, x: SparseTensor, modulation: Tensor, cond: Tensor) -> SparseTensor:
        """The transformer on the coarse voxels of x."""
        h = x.feats + self._position(x.layout)
        segments = x.layout.segments
        return x.replace(run_flow_blocks(self, self.blocks, h, modulation, cond=cond, segments=segments))
