"""Attention over packed sequences: one public function, back end looked up at call time."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops import attention_sdpa, attention_varlen
from trellis.ops.segments import Segments

BACKENDS = ("sdpa", "varlen")


def packed_attention(
    q: Tensor, k: Tensor, *, v: Tensor, q_segments: Segments, k_segments: Segments, backend: str | None = None
) -> Tensor:
    """Softmax attention with scale 1/sqrt(D), inside each pair of segments.

    q [Tq, H, D], k and v [Tk, H, D] -> [Tq, H, D]; segment i of q attends to segment i of k and v.
    `backend`: None chooses; "sdpa" runs anywhere; "varlen" needs half precision on a GPU of compute capability 8.
    Raises InvalidInputError for an unknown back end.
    """
    if backend is None:
        ragged = not (q_segments.is_uniform and k_segments.is_uniform)
        backend = "varlen" if ragged and attention_varlen.is_usable(q) else "sdpa"
    if backend not in BACKENDS:
        raise InvalidInputError(f"Unknown attention back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    assert len(q_segments) == len(k_segments)
    if torch.is_autocast_enabled(q.device.type):
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    module = attention_varlen if backend == "varlen" else attention_sdpa
    return module.attend(q, k, v=v, q_segments=q_segments, k_segments=k_segments)
