"""Fewer triangles by quadric edge collapse, in parallel by kernels in Warp."""

from collections.abc import Callable

import torch
from torch import Tensor


def collapse_edges(
    vertices: Tensor, faces: Tensor, target: int, *, before_round: Callable[[int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Quadric edge collapse (Garland and Heckbert 1997) of `vertices` [V, 3], `faces` [F, 3] to `target` faces.

    Returns vertices [v, 3] of the same type and faces [f, 3] int32 on the same device. Only collapses that meet the
    link condition are made, so a manifold stays one, its parts and handles stay, and a closed surface stays closed;
    f is above `target` where that leaves nothing to collapse. Vertices on edges of three or more faces stay in place.
    Many independent edges collapse in a round, the same ones on every run.
    `before_round` is told the number of faces from time to time and may raise to stop the work.
    """
    if len(faces) <= target:
        return vertices, faces.int()
    # Imported at the call: Warp takes half a second to load and is needed for this alone.
    from trellis.ops.edge_collapse.warp_backend import collapse

    with torch.no_grad():
        return collapse(vertices.detach(), faces.detach(), target, before_round or (lambda _: None))
