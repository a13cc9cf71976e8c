"""Precision of the layers that do the work: linear and convolution weights; norms keep float32."""

from collections.abc import Iterable

import torch
from torch import nn

from trellis.nn.conv import ConvWeights


def set_compute_dtype(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Convert the weights of every linear and convolution layer inside `modules`."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv3d | ConvWeights):
                layer.to(dtype)
