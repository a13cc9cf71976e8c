"""The picture encoder of a Hunyuan3D-2 shape model: DINOv2 giant, through `transformers`."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.conditioning.image_encoder import IMAGENET_MEAN, IMAGENET_STD
from trellis.conditioning.shape_picture import EncoderSizes

# Names of the published weights (those of transformers 4) and of today's.
_RENAMED = (
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
    ("mlp.weights_out.", "mlp.down_proj."),
)
_PAIR, _GATE, _UP = "mlp.weights_in.", "mlp.gate_proj.", "mlp.up_proj."  # the gate's rows come first
VIEW_PERIOD = 10000.0


class ShapeEncoder(nn.Module):
    """Tokens of pictures, all of them after the final norm; several pictures are told apart by their side.

    Source: docs/developer/hunyuan-facts.md, section 4.
    """

    def __init__(self, config: EncoderSizes) -> None:
        from transformers import Dinov2Config, Dinov2Model

        super().__init__()
        self.config = config
        self.backbone = Dinov2Model(
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
        return list(self.backbone.encoder.layer)

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
        mean, std = (scaled.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        tokens = self.backbone(((scaled - mean) / std).to(self.torso_dtype)).last_hidden_state.float()
        if sides:
            tokens = tokens + side_waves(tokens.new_tensor(sides), tokens.shape[-1])[:, None]
        return tokens.flatten(0, 1)[None]


def side_waves(sides: Tensor, width: int) -> Tensor:
    """[sin, cos] of the number of each side [V]: [V, width]."""
    index = torch.arange(width // 2, dtype=torch.float32, device=sides.device)
    angles = sides.float()[:, None] * VIEW_PERIOD ** (-2 * index / width)
    return torch.cat([angles.sin(), angles.cos()], 1)


def published_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the backbone by their published names."""
    named: dict[str, Tensor] = {}
    for key, value in weights.items():
        if _GATE in key:
            value = torch.cat([value, weights[key.replace(_GATE, _UP)]])
        if _UP not in key:
            named[_replaced(key.replace(_GATE, _PAIR), forward=False)] = value
    return named


def backbone_weights(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `published_weights`."""
    named: dict[str, Tensor] = {}
    for key, value in published.items():
        if _PAIR in key:
            gate, up = value.chunk(2)
            named |= {key.replace(_PAIR, _GATE): gate.contiguous(), key.replace(_PAIR, _UP): up.contiguous()}
        else:
            named[_replaced(key, forward=True)] = value
    return named


def _replaced(key: str, *, forward: bool) -> str:
    for published, today in _RENAMED:
        key = key.replace(published, today) if forward else key.replace(today, published)
    return key
