"""Hammersley point sets: low-discrepancy samples of the unit cube."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError


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


def offset_perturbation(count: int, voxel_size: float) -> Tensor:
    """Raw offsets [count, 3] whose tanh spreads `count` Gaussians evenly over a voxel enlarged to `voxel_size`.

    atanh((2 h - 1) / voxel_size) of Hammersley points h (source: docs/developer/model-facts.md, section 7).
    Raises `InvalidInputError` unless voxel_size > 1: the first point lies at the corner -1, which tanh only reaches in
    the limit.
    """
    if voxel_size <= 1:
        raise InvalidInputError(f"voxel_size must be greater than 1 to perturb offsets, not {voxel_size}.")
    return torch.atanh((hammersley_3d(count) * 2 - 1) / voxel_size)
