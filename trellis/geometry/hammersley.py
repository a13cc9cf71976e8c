"""Hammersley point sets: low-discrepancy samples of the unit cube."""

import torch
from torch import Tensor


def radical_inverse(base: int, index: int) -> float:
    """The digits of `index` in `base`, mirrored about the decimal point: a value in [0, 1)."""
    value, scale = 0.0, 1.0 / base
    while index > 0:
        index, digit = divmod(index, base)
        value += digit * scale
        scale /= base
    return value


def hammersley_3d(count: int) -> Tensor:
    """`count` points [count, 3] in [0, 1)^3: (i / count, radical inverse base 2, radical inverse base 3)."""
    return torch.tensor([[i / count, radical_inverse(2, i), radical_inverse(3, i)] for i in range(count)])
