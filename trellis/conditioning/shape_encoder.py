"""The picture encoder of a Hunyuan3D-2 shape model: DINOv2 giant."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.conditioning.dinov2 import Dinov2, Dinov2Config
from trellis.conditioning.image_encoder import normalized
from trellis.conditioning.shape_picture import EncoderSizes

VIEW_PERIOD = 10000.0


class ShapeEncoder(nn.Module):
    """Tokens of pictures, all of them after the final norm; several pictures are told apart by their side.

    Source: docs/developer/hunyuan-facts.md, section 4.
    """

    def __init__(self, config: EncoderSizes) -> None:
        super().__init__()
        self.config = config
        self.backbone = Dinov2(
            Dinov2Config(
                hidden_size=config.hidden_size,
                num_hidden_layers=config.num_hidden_layers,
                num_attention_heads=config.num_attention_heads,
                mlp_ratio=config.mlp_ratio,
                image_size=config.image_size,
                patch_size=config.patch_size,
                layer_norm_eps=1e-6,
                use_swiglu_ffn=True,
            )
        )

    @property
    def blocks_in_order(self) -> Sequence[nn.Module]:
        """What holds nearly all weights, see `trellis.memory.InBlocks`."""
        return list(self.backbone.layers)

    @property
    def torso_dtype(self) -> torch.dtype:
        """What it computes in; pictures are prepared and tokens given in float32."""
        return self.backbone.layernorm.weight.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert all weights."""
        self.backbone.to(dtype=dtype)

    def forward(self, pictures: Tensor, sides: tuple[int, ...] = ()) -> Tensor:
        """Tokens float32 [1, V T, C] of pictures [V, 3, S, S] in 0..1 of one object, one after the other.

        sides: of each picture, by number (front 0, left 1, back 2, right 3), for an encoder of several.
        """
        size = (self.config.image_size,) * 2
        scaled = F.interpolate(pictures.float(), size, mode="bilinear", align_corners=False, antialias=True)
        hidden = self.backbone(normalized(scaled).to(self.torso_dtype))
        tokens = self.backbone.layernorm(hidden).float()
        if sides:
            tokens = tokens + side_waves(tokens.new_tensor(sides), tokens.shape[-1])[:, None]
        return tokens.flatten(0, 1)[None]


def side_waves(sides: Tensor, width: int) -> Tensor:
    """[sin, cos] of the number of each side [V]: [V, width]."""
    index = torch.arange(width // 2, dtype=torch.float32, device=sides.device)
    angles = sides.float()[:, None] * VIEW_PERIOD ** (-2 * index / width)
    return torch.cat([angles.sin(), angles.cos()], 1)
