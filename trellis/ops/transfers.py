"""Ways to a GPU that wait for nothing: memory that it copies by itself, and numbers that its queue takes along."""

import logging

import torch
from torch import Tensor

from trellis.runtime import is_gpu

logger = logging.getLogger(__name__)


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the CPU, in memory from which a CUDA device copies fast and on its own, if that can be had."""
    tensor = tensor.to("cpu")
    if not is_gpu(device):
        return tensor
    try:
        return tensor.pin_memory()
    except RuntimeError as error:  # the system allows no more locked memory
        logger.info("memory is not pinned: %s", error)
        return tensor


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """A few numbers of the CPU on the device, without waiting for what a GPU has still to do.

    Raises RuntimeError while a GPU's work is recorded: replays would read memory that is others' by then.
    """
    if is_gpu(device) and torch.get_device_module(device).is_current_stream_capturing():
        raise RuntimeError("Numbers cannot be sent to the GPU while its work is recorded.")
    return pinned(numbers, device).to(device, non_blocking=is_gpu(device))
