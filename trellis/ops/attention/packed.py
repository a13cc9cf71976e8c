"""Attention over packed sequences: one public function, back end looked up at call time."""

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.attention import flash_adapter, sdpa, varlen, xformers_adapter
from trellis.ops.segments import Segments

# sdpa: torch's own choice of kernel, anywhere; varlen: torch's flash attention of ragged segments; flash-attn and
# xformers: the packages of these names.
MODULES: Mapping[str, ModuleType] = {
    "sdpa": sdpa,
    "varlen": varlen,
    "flash-attn": flash_adapter,
    "xformers": xformers_adapter,
}
BACKENDS = tuple(MODULES)


def packed_attention(
    q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments, backend: str | None = None
) -> Tensor:
    """Softmax attention with scale 1/sqrt(D), inside each pair of segments.

    q [Tq, H, D], k and v [Tk, H, D] -> [Tq, H, D]; segment i of q attends to segment i of k and v.
    `backend`: one of BACKENDS; None chooses, and a back end that cannot take these tensors (another precision or head
    width than it knows) leaves them to that choice. Raises InvalidInputError for an unknown back end,
    MissingDependencyError for a package that is not installed.
    """
    if backend is not None and backend not in MODULES:
        raise InvalidInputError(f"Unknown attention back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    if backend is None or not MODULES[backend].is_usable(q):
        ragged = not (q_segments.is_uniform and k_segments.is_uniform)
        backend = "varlen" if ragged and varlen.is_usable(q) else "sdpa"
    assert len(q_segments) == len(k_segments)
    if torch.is_autocast_enabled(q.device.type):
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    return MODULES[backend].attend(q, k, v=v, q_segments=q_segments, k_segments=k_segments)
