"""The rasterisers' back ends: `reference` (plain torch) and `warp` (NVIDIA Warp, CPU and CUDA kernels)."""

import functools
import importlib.util

import torch
from torch import Tensor

from trellis.errors import InvalidInputError, MissingDependencyError

BACKENDS = ("auto", "reference", "warp")


@functools.cache
def warp_installed() -> bool:
    """True when the warp package can be imported."""
    return importlib.util.find_spec("warp") is not None


def choose_backend(name: str, *tensors: Tensor) -> str:
    """Resolve `name` to "reference" or "warp" for work on `tensors` (all on one device).

    `auto` takes Warp where it is installed, unless a gradient is wanted: only the reference is differentiable.
    Raises InvalidInputError for an unknown name or a gradient asked of Warp, MissingDependencyError where Warp is
    not installed.
    """
    if name not in BACKENDS:
        raise InvalidInputError(f"Unknown rasteriser back end {name!r}; choose one of {', '.join(BACKENDS)}.")
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if name == "auto":
        return "warp" if warp_installed() and not needs_gradient else "reference"
    if name == "warp" and not warp_installed():
        raise MissingDependencyError("The warp back end needs NVIDIA Warp; install it with `pip install warp-lang`.")
    if name == "warp" and needs_gradient:
        raise InvalidInputError("The warp back end has no gradients; use the reference back end, or torch.no_grad().")
    return name
