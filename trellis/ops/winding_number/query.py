"""Public entry of the inside-outside query."""

from collections.abc import Callable

from torch import Tensor

from trellis.errors import InvalidInputError

BACKENDS = ("warp", "reference")
THRESHOLD = 0.5  # halfway between outside (0) and inside (1); a mesh with holes takes values between


def inside_query(vertices: Tensor, faces: Tensor, *, backend: str = "warp") -> Callable[[Tensor], Tensor]:
    """A function from points [n, 3] to bool [n]: whether the mesh's generalised winding number there is above 0.5.

    vertices [V, 3], faces [F, 3], counter-clockwise seen from outside; all tensors on one device. Meshes may have holes
    and overlap themselves. `warp` sums distant faces in groups; `reference` adds the solid angle of every face.
    Source: Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers" (2013).
    Raises InvalidInputError for an empty mesh or an unknown back end.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"Unknown back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so nothing is inside of it.")
    # Imported at the call: Warp takes half a second to load.
    if backend == "warp":
        from trellis.ops.winding_number.warp_backend import build
    else:
        from trellis.ops.winding_number.reference import build
    inside = build(vertices.detach().float().contiguous(), faces, THRESHOLD)
    return lambda points: inside(points.detach().float().contiguous())
