"""Multi-head attention of packed tokens."""

from torch import Tensor, nn

from trellis.nn.norm import HeadRMSNorm
from trellis.ops.attention import packed_attention
from trellis.ops.segments import Segments
from trellis.sparse.windows import TokenWindows


class Attention(nn.Module):
    """What all attention layers have: their number of heads, and who computes them."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.backend: str | None = None  # of packed_attention; None: chosen at every call


class SelfAttention(Attention):
    """Tokens [T, C] attend to each other inside their windows."""

    def __init__(self, width: int, heads: int, *, qk_rms_norm: bool = False) -> None:
        super().__init__(heads)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.q_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.k_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, windows: TokenWindows) -> Tensor:
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        if self.q_rms_norm is not None and self.k_rms_norm is not None:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        if windows.gather is not None:
            q, k, v = (part.index_select(0, windows.gather) for part in (q, k, v))
        segments = windows.segments
        out = packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend=self.backend).flatten(1)
        if windows.select is not None:
            out = out.index_select(0, windows.select)
        return self.to_out(out)


class CrossAttention(Attention):
    """Tokens [T, C] of each sample attend to that sample's condition tokens [Tc, Cc]."""

    def __init__(self, width: int, heads: int, *, cond_width: int, qk_rms_norm: bool = False) -> None:
        super().__init__(heads)
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(cond_width, 2 * width)
        self.q_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.k_rms_norm = HeadRMSNorm(heads, width // heads) if qk_rms_norm else None
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, cond: Tensor, *, segments: Segments, cond_segments: Segments) -> Tensor:
        q = self.to_q(x).unflatten(-1, (self.heads, -1))
        k, v = self.to_kv(cond).unflatten(-1, (2, self.heads, -1)).unbind(1)
        if self.q_rms_norm is not None and self.k_rms_norm is not None:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        out = packed_attention(q, k, v=v, q_segments=segments, k_segments=cond_segments, backend=self.backend)
        return self.to_out(out.flatten(1))
