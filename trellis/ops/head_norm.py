"""RMS norm of attention heads, in place and without a gradient: by torch, or by one Triton kernel where that runs."""

import importlib.util
import logging
import subprocess
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-30  # keeps the norm of a zero vector finite and changes no other
_AGREEMENT = 4e-3  # of the largest value: two roundings to float16

logger = logging.getLogger(__name__)
Kernel = Callable[[Tensor, Tensor], None]


def normalize_heads(x: Tensor, gamma: Tensor) -> None:
    """`x / |x| * sqrt(D) * gamma` over the last axis, in place: x [T, S, H, D], gamma float32 [S, H, D].

    Computes in float32. x may be a slice of the first S parts of [T, S', H, D].
    """
    kernel = kernel_for(x.device) if x.dtype != torch.float32 else None
    (kernel or by_torch)(x, gamma)


def by_torch(x: Tensor, gamma: Tensor) -> None:
    """See `normalize_heads`."""
    torch.mul(F.rms_norm(x, x.shape[-1:], eps=TINY), gamma, out=x)


@cache
def kernel_for(device: torch.device) -> Kernel | None:
    """The kernel, if this device runs it and it agrees with torch."""
    if device.type in ("cpu", "mps") or importlib.util.find_spec("triton") is None:
        return None
    from triton.errors import TritonError

    try:
        from trellis.ops.head_norm_triton import by_triton

        same = agrees(by_triton, device)
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError, TritonError) as error:
        logger.warning("heads are normalised without a kernel: %s", error)
        return None
    if not same:
        logger.warning("heads are normalised without a kernel: it differs from torch")
    return by_triton if same else None


def agrees(kernel: Kernel, device: torch.device) -> bool:
    """Whether a kernel gives torch's values and leaves the parts alone that it was not given."""
    generator = torch.Generator().manual_seed(0)
    for width in (64, 80):
        whole = torch.randn(37, 3, 4, width, generator=generator).to(device, torch.float16)
        whole[5] = 0
        gamma = torch.rand(2, 4, width, generator=generator).to(device) + 0.5
        expected, got = whole.clone(), whole.clone()
        by_torch(expected[:, :2], gamma)
        kernel(got[:, :2], gamma)
        if not bool(((got - expected).abs().max() <= _AGREEMENT * expected.abs().max()).item()):
            return False
        if not torch.equal(got[:, 2], whole[:, 2]):
            return False
    return True
