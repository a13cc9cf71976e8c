"""DINOv2 (Oquab et al. 2023), with registers (Darcet et al. 2023) or without, its weights by their published names.

It is written out here because `transformers` takes some three seconds to import, in every process.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from trellis.atomic import write_bytes
from trellis.errors import CheckpointError

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Dinov2Config:
    """Sizes by the names of the published config.json; pictures are square, `image_size` pixels a side."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int = 14
    mlp_ratio: int = 4
    num_register_tokens: int = 0
    num_channels: int = 3
    layer_norm_eps: float = 1e-6
    layerscale_value: float = 1.0
    use_swiglu_ffn: bool = False

    @classmethod
    def read(cls, path: Path) -> "Dinov2Config":
        """The sizes in a config.json; raises CheckpointError where they are missing or wrong."""
        if not path.is_file():
            raise CheckpointError(f"{path} is missing.")
        known = {one.name for one in fields(cls)}
        try:
            given: dict[str, Any] = json.loads(path.read_bytes())
            found = cls(**{name: value for name, value in given.items() if name in known})
            if given.get("hidden_act", "gelu") != "gelu" or found.hidden_size % found.num_attention_heads:
                raise ValueError("such a network is not known")
        except (OSError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(f"{path} does not describe a DINOv2: {error}") from error
        return found


class Dinov2(nn.Module):
    """Tokens [B, 1 + registers + patches, C] of normalised pictures [B, 3, S, S], before `layernorm`, the final one."""

    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))})
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    @property
    def layers(self) -> list[nn.Module]:
        """The transformer blocks, in order."""
        return list(self.encoder["layer"].children())

    def forward(self, pictures: Tensor) -> Tensor:
        hidden: Tensor = self.embeddings(pictures)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden

    def save(self, folder: Path) -> None:
        """Write config.json and the weights in float16, as `transformers` reads them too."""
        kind = "Dinov2WithRegisters" if self.config.num_register_tokens else "Dinov2"
        record = {"architectures": [f"{kind}Model"], "hidden_act": "gelu", "qkv_bias": True}
        record["model_type"] = "dinov2_with_registers" if self.config.num_register_tokens else "dinov2"
        weights = {name: value.detach().cpu().half().contiguous() for name, value in self.state_dict().items()}
        write_bytes(folder / WEIGHTS_FILE, save(weights, metadata={"format": "pt"}))
        write_bytes(folder / CONFIG_FILE, (json.dumps(record | asdict(self.config), indent=2) + "\n").encode())


class _Embeddings(nn.Module):
    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        width, size = config.hidden_size, config.patch_size
        patches = (config.image_size // size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of its training; the files hold it
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + patches, width))
        if config.num_register_tokens:
            self.register_tokens = nn.Parameter(torch.zeros(1, config.num_register_tokens, width))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(config.num_channels, width, size, stride=size)})

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](pictures).flatten(2).transpose(1, 2)
        count = len(patches)
        tokens = torch.cat([self.cls_token.expand(count, -1, -1), patches], 1) + self.position_embeddings
        if not hasattr(self, "register_tokens"):
            return tokens
        return torch.cat([tokens[:, :1], self.register_tokens.expand(count, -1, -1), tokens[:, 1:]], 1)


class _Layer(nn.Module):
    def __init__(self, config: Dinov2Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=config.layer_norm_eps) for _ in range(2))
        self.attention = _Attention(width, config.num_attention_heads)
        self.layer_scale1, self.layer_scale2 = (LayerScale(width, config.layerscale_value) for _ in range(2))
        self.mlp = (_GatedMlp if config.use_swiglu_ffn else _Mlp)(width, int(width * config.mlp_ratio))

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.layer_scale1(self.attention(self.norm1(hidden))) + hidden
        return self.layer_scale2(self.mlp(self.norm2(hidden))) + hidden


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, hidden: Tensor) -> Tensor:
        parts = (self.attention[name](hidden).unflatten(-1, (self.heads, -1)) for name in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        return self.output["dense"](mixed.transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """Gains [C] of a branch."""

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.full((width,), value))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * self.lambda1


class _Mlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(hidden)))


class _GatedMlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        inner = (inner * 2 // 3 + 7) // 8 * 8
        self.weights_in, self.weights_out = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, hidden: Tensor) -> Tensor:
        gate, up = self.weights_in(hidden).chunk(2, dim=-1)
        return self.weights_out(F.silu(gate) * up)
