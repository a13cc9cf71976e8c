"""RMS norm of attention heads, in place and without a gradient: by torch, or by one Triton kernel where that runs."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.ops.checked_kernels import checked_kernels

TINY = 1e-30  # keeps the norm of a zero vector finite and changes no other
_AGREEMENT = 4e-3  # of the largest value: two roundings to float16

Kernel = Callable[[Tensor, Sequence[Tensor]], None]


def normalize_heads(x: Tensor, gammas: Sequence[Tensor]) -> None:
    """`x / |x| * sqrt(D) * gamma` over the last axis, in place: x [T, S, H, D], one gamma float32 [H, D] for each of S
    parts (one or two).

    Computes in float32. x may be a slice of the first S parts of [T, S', H, D].
    """
    kernel = kernel_for(x.device) if x.dtype != torch.float32 else None
    (kernel or by_torch)(x, gammas)


def by_torch(x: Tensor, gammas: Sequence[Tensor]) -> None:
    """See `normalize_heads`."""
    torch.mul(F.rms_norm(x, x.shape[-1:], eps=TINY), torch.stack(list(gammas)), out=x)


@cache
def kernel_for(device: torch.device) -> Kernel | None:
    """The kernel, if this device runs it and it agrees with torch."""
    kernels = checked_kernels(
        "trellis.ops.norms.heads_triton",
        device,
        agrees=lambda module: agrees(module.by_triton, device),
        otherwise="heads are normalised without a kernel",
    )
    return None if kernels is None else kernels.by_triton


def agrees(kernel: Kernel, device: torch.device) -> bool:
    """Whether a kernel gives torch's values and leaves the parts alone that it was not given."""
    generator = torch.Generator().manual_seed(0)
    for width, parts in ((64, 2), (80, 1)):
        whole = torch.randn(37, 3, 4, width, generator=generator).to(device, torch.float16)
        whole[5] = 0
        gammas = (torch.rand(parts, 4, width, generator=generator).to(device) + 0.5).unbind()
        expected, got = whole.clone(), whole.clone()
        by_torch(expected[:, :parts], gammas)
        kernel(got[:, :parts], gammas)
        if not bool(((got - expected).abs().max() <= _AGREEMENT * expected.abs().max()).item()):
            return False
        if not torch.equal(got[:, parts:], whole[:, parts:]):
            return False
    return True
