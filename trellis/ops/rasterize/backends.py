"""The rasterisers' back ends: plain torch, NVIDIA Warp (CPU and NVIDIA GPUs), and adapters to packages of others."""

import functools
import importlib
import importlib.util

import torch
from torch import Tensor

from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.runtime import has_float64, is_gpu

GAUSSIAN_BACKENDS = ("auto", "reference", "warp", "gsplat")
TRIANGLE_BACKENDS = ("auto", "reference", "warp", "nvdiffrast", "kaolin")
FIELD_BACKENDS = ("auto", "reference", "warp")
BACKENDS = tuple(dict.fromkeys(["builtin", *GAUSSIAN_BACKENDS, *TRIANGLE_BACKENDS, *FIELD_BACKENDS]))

# Packages that are used when installed and asked for: how to get them, and their licence. Each was written from its
# public documentation: adapters, untested on hardware.
ADAPTERS = {
    "gsplat": "install it with `setup --extra gsplat` (Apache-2.0; it builds its kernels at the first use, which needs "
    "NVIDIA's compiler nvcc and a C++ compiler)",
    "nvdiffrast": "install it from https://github.com/NVlabs/nvdiffrast (NVIDIA Source Code License: non-commercial "
    "use only; it needs NVIDIA's compiler nvcc and a C++ compiler)",
    "kaolin": "install it as https://kaolin.readthedocs.io says for your release of torch (Apache-2.0; "
    "`--extra kaolin` installs nothing, for that release has no build)",
}


@functools.cache
def warp_usable(device: torch.device) -> bool:
    """True when Warp is installed and its kernels run on tensors of `device`."""
    if importlib.util.find_spec("warp") is None:
        return False
    if device.type == "cpu":
        return True
    if not is_gpu(device) or torch.version.hip is not None:
        return False
    # Warp may be newer than the driver; then it finds no GPU although torch does.
    from trellis.ops import warp_device

    return warp_device.has_gpu()


def prepare(device: torch.device) -> None:
    """Compile the Warp kernels for a device now, or load them where that was done before, not at the first picture.

    Takes seconds the first time on a machine; nothing where Warp is not usable.
    """
    if not warp_usable(device):
        return
    from trellis.ops import warp_device

    for name in ("warp_fields", "warp_gaussians", "warp_meshes", "warp_projection", "warp_triangles"):
        warp_device.load(importlib.import_module(f"trellis.ops.rasterize.{name}"), device=device)


def check_backend(name: str, *, among: tuple[str, ...] = BACKENDS) -> None:
    """Raise InvalidInputError unless `name` is one of `among`."""
    if name not in among:
        known = "Unknown rasteriser back end" if name not in BACKENDS else "This is not drawn by the back end"
        raise InvalidInputError(f"{known} {name!r}; choose one of {', '.join(among)}.")


def backend_for(name: str, among: tuple[str, ...]) -> str:
    """`name` where it is one of `among`, else `auto`, as `builtin` is: one wish for pictures of several kinds.

    Raises InvalidInputError for a name that no kind of picture has.
    """
    check_backend(name)
    return name if name in among else "auto"


def choose_backend(name: str, *tensors: Tensor, among: tuple[str, ...]) -> str:
    """Resolve `name`, one of `among`, to the back end for work on `tensors` (all on one device).

    `auto` takes Warp where it is usable, unless a gradient is wanted: only the reference is sure to be differentiable.
    Raises InvalidInputError for an unknown name or a gradient asked of Warp, MissingDependencyError where a package is
    asked for and not usable.
    """
    check_backend(name, among=among)
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
    if name in ADAPTERS:
        require_adapter(name, device)
    return name


def require_adapter(name: str, device: torch.device) -> None:
    """Raise MissingDependencyError where the package `name` is not installed or does not draw on `device`."""
    if importlib.util.find_spec(name) is None:
        raise MissingDependencyError(f"{name} is not installed: {ADAPTERS[name]}, or leave it to the built-in ones.")
    if not is_gpu(device):
        raise MissingDependencyError(
            f"{name} draws on NVIDIA GPUs only, not on device {device}; leave it to the built-in ones."
        )


def rendering_device(device: torch.device, backend: str, *tensors: Tensor) -> torch.device:
    """Where to render what lies on `device`: there, or on the CPU if only that has Warp (AMD) or float64 (Apple).

    A wanted gradient of `tensors` keeps the work on the device, except on Apple's.
    """
    check_backend(backend)
    if not has_float64(device):
        return torch.device("cpu")
    needs_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    cpu = torch.device("cpu")
    if backend in ("auto", "warp") and not needs_gradient and not warp_usable(device) and warp_usable(cpu):
        return cpu
    return device
