"""Warp started quietly, and torch tensors handed to it without a copy."""

import functools

import torch
import warp as wp
from torch import Tensor


@functools.cache
def start() -> None:
    """Start Warp without its banner on the standard output; releases before 1.18 name the setting otherwise."""
    if hasattr(wp.config, "log_level"):
        wp.config.log_level = wp.LOG_ERROR
    else:
        wp.config.quiet = True
    wp.init()


def view(tensor: Tensor, dtype: type) -> wp.array:
    """A Warp array on the memory of a contiguous `tensor`."""
    return wp.from_torch(tensor.detach().contiguous(), dtype=dtype)


def launch(
    kernel: wp.Kernel, dim: int | tuple[int, ...], inputs: list, *, device: torch.device, block: int = 256
) -> None:
    """Run a kernel on a torch device, in order with torch's own work there."""
    wp.launch(
        kernel, dim=dim, inputs=inputs, device=wp.device_from_torch(device), stream=_stream(device), block_dim=block
    )


def _stream(device: torch.device) -> wp.Stream | None:
    return None if device.type == "cpu" else wp.stream_from_torch(device)
