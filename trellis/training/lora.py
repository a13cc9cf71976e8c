"""Low-rank updates of a network's linear layers (LoRA, arXiv 2106.09685), trained instead of its weights."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.training.released_config import Lora

_LAYERS = re.compile(r"blocks\.\d+\.(\w+\.(to_qkv|to_q|to_kv|to_out)|mlp\.mlp\.\d+)")
_UP, _DOWN = ".lora_up", ".lora_down"


class LoraLinear(nn.Linear):
    """A linear layer whose weights stay, plus `up @ down * scale`, which starts at zero."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias, self.scale = layer.weight, layer.bias, scale
        self.lora_down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.lora_up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.lora_down), self.lora_up) * self.scale


def add_lora(network: nn.Module, *, rank: int, alpha: float) -> None:
    """Give attention and MLP of every block an update of this rank, which alone is trained from here on.

    Raises InvalidInputError for a network without such layers.
    """
    network.requires_grad_(False)
    chosen = [
        name for name, layer in network.named_modules() if _LAYERS.fullmatch(name) and isinstance(layer, nn.Linear)
    ]
    if not chosen:
        raise InvalidInputError("lora is for flows: this network has no attention.")
    for name in chosen:
        parent, _, last = name.rpartition(".")
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(network.get_submodule(parent), last, LoraLinear(layer, rank, alpha / rank))


def merged(state: Mapping[str, Tensor], lora: Lora | None) -> dict[str, Tensor]:
    """A network's tensors with their updates added to the weights, and gone."""
    plain = {name: value for name, value in state.items() if not name.endswith((_UP, _DOWN))}
    for name, up in state.items():
        if name.endswith(_UP) and lora is not None:
            layer = name.removesuffix(_UP)
            plain[f"{layer}.weight"] = plain[f"{layer}.weight"] + up @ state[layer + _DOWN] * (lora.alpha / lora.rank)
    return plain


def save_lora(state: Mapping[str, Tensor], lora: Lora, path: Path) -> None:
    """Write the updates alone, with rank and alpha in the header."""
    own = {name: value.contiguous() for name, value in state.items() if name.endswith((_UP, _DOWN))}
    write_bytes(path, save(own, metadata={"rank": str(lora.rank), "alpha": str(lora.alpha)}))
