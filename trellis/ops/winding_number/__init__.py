"""Inside or outside of a triangle mesh by its winding number, by a kernel in Warp."""

from collections.abc import Callable

from torch import Tensor

from trellis.errors import InvalidInputError

THRESHOLD = 0.5  # halfway between outside (0) and inside (1); a mesh with holes takes values between


def inside_query(vertices: Tensor, faces: Tensor) -> Callable[[Tensor], Tensor]:
    """A function from points [n, 3] to bool [n]: whether the mesh's generalised winding number there is above 0.5.

    vertices [V, 3], faces [F, 3], counter-clockwise seen from outside; all tensors on one device. Meshes may have holes
    and overlap themselves. Distant faces are summed in groups.
    Source: Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers" (2013).
    Raises InvalidInputError for an empty mesh.
    """
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so nothing is inside of it.")
    vertices = vertices.detach().float().contiguous()
    # Imported at the call: Warp takes half a second to load.
    from trellis.ops.winding_number import warp_backend

    inside = warp_backend.build(vertices, faces, THRESHOLD)
    return lambda points: inside(points.detach().float().contiguous())
