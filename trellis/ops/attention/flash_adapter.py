"""Packed attention by the packages flash-attn (release 2) and flash-attn-4; an adapter, used when it is asked for."""

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.ops.attention import varlen
from trellis.ops.eager import eager
from trellis.ops.segments import Segments

# Release 2 is compiled when it is installed; 4 compiles its kernels at the first call, and shares the first's name.
MODULES = ("flash_attn", "flash_attn.cute")


def is_usable(q: Tensor) -> bool:
    """Half precision on an NVIDIA GPU of compute capability 8; raises MissingDependencyError without a package."""
    package()
    return varlen.is_half_on_gpu(q)


@cache
def package() -> ModuleType:
    """The release that is installed, the compiled one first; raises MissingDependencyError without any."""
    fault = "it is not installed"
    for name in MODULES if find_spec("flash_attn") is not None else ():
        try:
            module = import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            fault = str(error)
            continue
        if hasattr(module, "flash_attn_varlen_func"):
            warnings.filterwarnings("ignore", "Argument aux_data", UserWarning)  # at each of release 4's compilations
            return module
    raise MissingDependencyError(
        f"The attention back end flash-attn cannot be used ({fault}); use sdpa, or install flash-attn-4."
    )


@eager
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`.

    Raises MissingDependencyError for a package that has no kernel for this machine.
    """
    try:
        out = _call(q, k, v, q_segments, k_segments)
    except (AssertionError, NotImplementedError) as error:
        raise MissingDependencyError(
            f"The installed flash-attn has no attention kernel for this machine ({error}); use sdpa."
        ) from error
    out = out[0] if isinstance(out, tuple) else out  # release 4 adds the logarithms of the sums
    return out.flatten(0, -3)


def _call(q: Tensor, k: Tensor, v: Tensor, q_segments: Segments, k_segments: Segments) -> Any:
    if q_segments.is_uniform and k_segments.is_uniform:
        return package().flash_attn_func(q_segments.batched(q), k_segments.batched(k), k_segments.batched(v))
    return package().flash_attn_varlen_func(
        q, k, v, cu_seqlens_q=q_segments.boundaries(), cu_seqlens_k=k_segments.boundaries(),
        max_seqlen_q=q_segments.longest, max_seqlen_k=k_segments.longest,
    )  # fmt: skip
