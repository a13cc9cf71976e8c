"""Which attention back end is fastest here for lengths that come again and again: measured once, then remembered.

cuDNN plans every pair of lengths anew, which takes longer than it saves where lengths change with every object; for
the fixed grid of the structure flow it is measured against torch's own choice.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from trellis.ops import attention_cudnn
from trellis.ops.attention import packed_attention
from trellis.ops.fastest import fastest
from trellis.ops.segments import Segments

CANDIDATES = ("sdpa", "cudnn")


@cache
def fastest_backend(
    device: torch.device, dtype: torch.dtype, *, q_length: int, k_length: int, heads: int, width: int
) -> str | None:
    """The back end for one and two samples of these lengths; None, which leaves it to every call, without candidates.

    Tensors lie in memory as those of the layers do: keys and values, and queries of the same length too, side by side.
    """
    generator = torch.Generator().manual_seed(0)
    together = q_length == k_length
    kv = torch.randn(2 * k_length, 3 if together else 2, heads, width, generator=generator).to(device, dtype)
    q = kv[:, 0] if together else torch.randn(2 * q_length, heads, width, generator=generator).to(device, dtype)
    if not attention_cudnn.is_usable(q):
        return None

    def attend(backend: str) -> Tensor:
        outs = []
        for count in (1, 2):
            q_segments, k_segments = (Segments((n,) * count, device) for n in (q_length, k_length))
            keys = kv[: count * k_length]
            one = q[: count * q_length]
            outs.append(
                packed_attention(
                    one, keys[:, -2], v=keys[:, -1], q_segments=q_segments, k_segments=k_segments, backend=backend
                )
            )
        return torch.cat(outs)

    lengths = f"{q_length} queries, {k_length} keys, {heads} heads of {width}, {dtype}"
    return choose(attend, device, question=f"attention of {lengths}")


def choose(attend: Callable[[str], Tensor], device: torch.device, *, question: str) -> str:
    """The fastest of CANDIDATES by `attend(name)`, among those that give the first one's result."""
    return fastest(attend, CANDIDATES, device, question=question)
