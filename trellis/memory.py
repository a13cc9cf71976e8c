"""Where networks live between their uses: loaded once, on the device only while the residency policy says so."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trellis.errors import InvalidInputError

logger = logging.getLogger(__name__)

RESIDENCIES = ("keep", "offload")


class ModelHost:
    """Lends networks by role: `with host.on_device("slat_flow_model") as model`.

    `loaders` maps a role to a function that loads its network on the CPU; it is called at the first use. Residency
    "keep" leaves a network on `device` after its use, "offload" moves it back to the CPU, also when the use failed.
    """

    def __init__(
        self, loaders: Mapping[str, Callable[[], nn.Module]], *, device: torch.device, residency: str = "keep"
    ) -> None:
        if residency not in RESIDENCIES:
            raise InvalidInputError(f"Unknown residency {residency!r}; choose one of {', '.join(RESIDENCIES)}.")
        self._loaders = dict(loaders)
        self._models: dict[str, nn.Module] = {}
        self._device = device
        self._residency = residency

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._loaders)

    @contextmanager
    def on_device(self, role: str) -> Iterator[Any]:
        """The network of `role`, in evaluation mode on the device; raises InvalidInputError for an unknown role."""
        if role not in self._loaders:
            raise InvalidInputError(f"This model has no {role!r}; it has {', '.join(self._loaders)}.")
        if role not in self._models:
            logger.info("loading %s", role)
            self._models[role] = self._loaders[role]().eval().requires_grad_(False)
        model = self._models[role].to(self._device)
        try:
            yield model
        finally:
            if self._residency == "offload":
                model.to("cpu")

    def unload(self) -> None:
        """Forget every network; the next use loads it again."""
        self._models.clear()


def peak_memory_bytes() -> int:
    """The largest resident memory this process has had."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS
