"""The transformer that the encoder and the decoders of the latent VAE share."""

from typing import TypeVar

import torch
from torch import nn

from trellis.models.config import LatentTransformerConfig, choose
from trellis.models.network import Network
from trellis.nn.blocks import TransformerBlock, run_block
from trellis.nn.embeddings import position_embedding
from trellis.nn.inference import run_plain_blocks
from trellis.sparse import ATTENTION_MODES, SparseTensor, attention_windows
from trellis.sparse.windows import TokenWindows

C = TypeVar("C", bound=LatentTransformerConfig)


class LatentTransformer(Network[C]):
    """Input layer, position embedding, blocks with windowed attention."""

    def __init__(self, config: C, *, in_channels: int) -> None:
        super().__init__(config)
        c = config
        choose("attn_mode", c.attn_mode, ATTENTION_MODES)
        self.input_layer = nn.Linear(in_channels, c.model_channels)
        self.blocks = nn.ModuleList(
            TransformerBlock(c.model_channels, c.heads, mlp_ratio=c.mlp_ratio, qk_rms_norm=c.qk_rms_norm)
            for _ in range(c.num_blocks)
        )

    def transform(self, x: SparseTensor) -> SparseTensor:
        """Features [N, in] -> hidden features [N, C] in the torso's precision."""
        c, layout = self.config, x.layout
        position = layout.cached(
            ("position", c.model_channels), lambda: position_embedding(layout.coords[:, 1:], c.model_channels)
        )
        h = (self.input_layer(x.feats) + position).to(self.torso_dtype)

        def windows_of(index: int) -> TokenWindows:
            return attention_windows(layout, c.attn_mode, window_size=c.window_size, block=index)

        if not torch.is_grad_enabled():
            return x.replace(run_plain_blocks(list(self.blocks), h, windows_of))  # type: ignore[arg-type]
        for index, block in enumerate(self.blocks):
            h = run_block(block, h, windows_of(index), recompute=self.recompute)
        return x.replace(h)
