"""Weights for training from scratch."""

from typing import Any

import torch
from torch import nn

from trellis.models.network import Network
from trellis.nn.embeddings import TimestepEmbedder


def initialize_for_training(model: Network[Any]) -> None:
    """Reset weights in place to where training starts, all in float32 (`save_model` stores them as `use_fp16` says).

    Linears: Xavier uniform, zero bias; time embedding: normal 0.02; adaLN layers and a linear output layer: zero, so
    that blocks start as the identity and the output at 0. Convolutions keep their default.
    """
    model.set_precision(torch.float32)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for name, module in model.named_modules():
            if isinstance(module, TimestepEmbedder):
                nn.init.normal_(module.mlp[0].weight, std=0.02)  # type: ignore[arg-type]
                nn.init.normal_(module.mlp[2].weight, std=0.02)  # type: ignore[arg-type]
            elif isinstance(module, nn.Linear) and ("adaLN_modulation" in name or name == "out_layer"):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
