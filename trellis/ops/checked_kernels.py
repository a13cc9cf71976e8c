"""Triton kernels are used where they run and agree with what they replace; elsewhere nothing is lost but time."""

import importlib.util
import logging
import subprocess
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import torch

from trellis.runtime import is_gpu

logger = logging.getLogger(__name__)


def checked_kernels(
    name: str, device: torch.device, *, agrees: Callable[[ModuleType], bool], otherwise: str
) -> ModuleType | None:
    """The module `name` of kernels, if this device runs them and `agrees(module)`; else None, and a warning.

    otherwise: what is done without them, for the warning; where no kernel is expected to run there is none.
    """
    if not is_gpu(device) or importlib.util.find_spec("triton") is None:
        return None
    from triton.errors import TritonError

    try:
        kernels = import_module(name)
        same = agrees(kernels)
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError, TritonError) as error:
        logger.warning("%s: %s", otherwise, error)
        return None
    if not same:
        logger.warning("%s: they differ from the reference", otherwise)
    return kernels if same else None
