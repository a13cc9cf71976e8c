"""A linear layer and its GELU (tanh), without a gradient: two operations, or one where the device's library has it."""

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.runtime import is_gpu

_AGREEMENT = 4e-3  # of a value and in all: the layer's output is rounded in between, or not

logger = logging.getLogger(__name__)
Function = Callable[..., Tensor]


def linear_gelu(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    """`gelu(x weight^T + bias)` with the tanh's GELU: x [T, C], weight [D, C], bias [D] -> [T, D]."""
    fused = fused_for(x.device) if x.dtype != torch.float32 else None
    return (fused or by_torch)(x, weight, bias=bias)


def by_torch(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    """See `linear_gelu`."""
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")


def in_one_product(x: Tensor, weight: Tensor, *, bias: Tensor) -> Tensor:
    """See `linear_gelu`: a function that torch keeps to itself, so nothing about it is taken for granted."""
    return torch._addmm_activation(bias, x, weight.t(), use_gelu=True)


@cache
def fused_for(device: torch.device) -> Function | None:
    """The layer and its GELU in one product, if this device has that and it is the tanh's GELU."""
    if not is_gpu(device):
        return None
    try:
        same = agrees(in_one_product, device)
    except (AttributeError, TypeError, RuntimeError) as error:  # not there, called in another way, or not possible
        logger.info("a layer's GELU is an operation of its own: %s", error)
        return None
    if not same:
        logger.info("a layer's GELU is an operation of its own: the fused one is another function")
    return in_one_product if same else None


def agrees(function: Function, device: torch.device) -> bool:
    """Whether a function gives torch's values, and is nearer to the tanh's GELU than to the exact one.

    The two GELUs differ by 5e-4 at most, as much as a layer's output may be rounded by. They can be told apart where
    they are small, below zero, if the output is exact: here it is a multiple of 1/64.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        (torch.randint(-8, 9, shape, generator=generator) / 8).to(device, torch.float16)
        for shape in ((96, 16), (128, 16), (128,))
    )
    output = F.linear(x.float(), weight.float(), bias.float())
    tanh, exact, found = F.gelu(output, approximate="tanh"), F.gelu(output), function(x, weight, bias=bias).float()
    if not torch.allclose(found, tanh, rtol=_AGREEMENT, atol=_AGREEMENT):
        return False
    small = output < 0
    return bool((found - tanh)[small].norm() < (found - exact)[small].norm())
