"""The transformer that both flow models share."""

from typing import Any

from torch import Tensor, nn

from trellis.models.config import FlowConfig
from trellis.models.network import Network
from trellis.nn.blocks import ModulatedCrossBlock, run_block
from trellis.ops.segments import Segments
from trellis.sparse import TokenWindows


def flow_blocks(config: FlowConfig) -> nn.ModuleList:
    """The modulated cross blocks of a flow model, as its checkpoint keeps them under `blocks`."""
    return nn.ModuleList(
        ModulatedCrossBlock(
            config.model_channels,
            config.heads,
            cond_width=config.cond_channels,
            mlp_ratio=config.mlp_ratio,
            qk_rms_norm=config.qk_rms_norm,
            qk_rms_norm_cross=config.qk_rms_norm_cross,
            share_mod=config.share_mod,
        )
        for _ in range(config.num_blocks)
    )


def run_flow_blocks(
    network: Network[Any], blocks: nn.ModuleList, h: Tensor, modulation: Tensor, *, cond: Tensor, segments: Segments
) -> Tensor:
    """Tokens h [T, C] of `segments` after the blocks of `network`, under cond [B, L, Cc]."""
    cond_segments = Segments((cond.shape[1],) * cond.shape[0], cond.device)
    windows, cond = TokenWindows(segments), cond.flatten(0, 1)
    for index, block in enumerate(blocks):
        recompute = network.recomputes(index, len(blocks))
        h = run_block(
            block, h, modulation, cond=cond, windows=windows, cond_segments=cond_segments, recompute=recompute
        )
    return h
