"""The rasterisers' back ends: `reference` (plain torch) and `warp` (NVIDIA Warp: CPU and NVIDIA GPUs)."""

import functools
import importlib.util

import torch
from torch import Tensor

from trellis.errors import InvalidInputError, MissingDependencyError

BACKENDS = ("auto", "reference", "warp")


@functools.cache
def warp_usable(device: torch.device) -> bool:
    """True when Warp is installed and its kernels run on tensors of `device`."""
    if importlib.util.find_spec("warp") is None:
        return False
    if device.type == "cpu":
        return True
    if device.type == "mps" or torch.version.hip is not None:
        return False
    # Warp may be newer than the driver; then it finds no GPU although torch does.
    from trellis.ops import warp_device

    return warp_device.has_gpu()


def check_backend(name: str) -> None:
    """Raise InvalidInputError unless `name` is one of BACKENDS."""
    if name not in BACKENDS:
        raise InvalidInputError(f"Unknown rasteriser back end {name!r}; choose one of {', '.join(BACKENDS)}.")


def choose_backend(name: str, *tensors: Tensor) -> str:
    """Resolve `name` to "reference" or "warp" for work on `tensors` (all on one device).

    `auto` takes Warp where it is usable, unless a gradient is wanted: only the reference is differentiable.
    Raises InvalidInputError for an unknown name or a gradient asked of Warp, MissingDependencyError where Warp is
    asked for and not usable.
    """
    check_backend(name)
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    device = tensors[0].device
    if name == "auto":
        return "warp" if warp_usable(device) and not needs_gradient else "reference"
    if name == "warp" and not warp_usable(device):
        raise MissingDependencyError(
            f"NVIDIA Warp is not usable on device {device}: install it with `pip install warp-lang`, "
            "update the GPU driver, or choose the reference back end."
        )
    if name == "warp" and needs_gradient:
        raise InvalidInputError("The warp back end has no gradients; use the reference back end, or torch.no_grad().")
    return name


def rendering_device(device: torch.device, backend: str, *tensors: Tensor) -> torch.device:
    """Where to render what lies on `device`: there, or on the CPU if only that has Warp (AMD) or float64 (Apple).

    A wanted gradient of `tensors` keeps the work on the device, except on Apple's.
    """
    check_backend(backend)
    if device.type == "mps":
        return torch.device("cpu")
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    cpu = torch.device("cpu")
    if backend != "reference" and not needs_gradient and not warp_usable(device) and warp_usable(cpu):
        return cpu
    return device
