"""Norms and an activation together with what stands beside them in a block: by torch, or by one kernel."""

from trellis.ops.norms.gelu import linear_gelu
from trellis.ops.norms.heads import normalize_heads
from trellis.ops.norms.residual import RowNorm, add_and_normalize, normalize_and_activate
