"""Packed attention by the package xformers; an adapter, used when it is asked for."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from torch import Tensor

from trellis.errors import MissingDependencyError
from trellis.ops.eager import eager
from trellis.ops.segments import Segments


def is_usable(q: Tensor) -> bool:
    """Any precision on a GPU; raises MissingDependencyError without the package."""
    package()
    return q.device.type != "cpu" and q.shape[-1] % 8 == 0


@cache
def package() -> ModuleType:
    """xformers' operators; raises MissingDependencyError where they are not there or cannot be loaded."""
    fault = "it is not installed"
    if find_spec("xformers") is not None:
        try:
            return import_module("xformers.ops")
        except (ImportError, AttributeError, OSError, RuntimeError) as error:  # it also loads flash-attn, and not any
            fault = str(error)
    raise MissingDependencyError(
        f"The attention back end xformers cannot be used ({fault}); use sdpa, or install one that matches torch."
    )


@eager
def attend(q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments) -> Tensor:
    """See `trellis.ops.attention.packed_attention`.

    Raises MissingDependencyError for a package that has no kernel for this machine.
    """
    if q_segments.is_uniform and k_segments.is_uniform:
        q, k, v, mask = q_segments.batched(q), k_segments.batched(k), k_segments.batched(v), None
    else:
        pairs = [(a, b) for a, b in zip(q_segments.lengths, k_segments.lengths) if a]  # it knows no empty queries
        q, k, v = q[None], k[None], v[None]
        mask = package().fmha.attn_bias.BlockDiagonalMask.from_seqlens([a for a, _ in pairs], [b for _, b in pairs])
    try:
        return package().memory_efficient_attention(q, k, v, attn_bias=mask).flatten(0, 1)
    except NotImplementedError as error:
        raise MissingDependencyError(
            "The installed xformers has no attention kernel for this machine, most often because it was built for "
            "another release of torch or of the driver's libraries; use sdpa, or install one that matches "
            "(python -m xformers.info tells)."
        ) from error
