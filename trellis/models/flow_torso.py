"""The transformer that both flow models share."""

from torch import nn

from trellis.models.config import FlowConfig
from trellis.nn.blocks import ModulatedCrossBlock


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
