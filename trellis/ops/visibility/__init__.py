"""How much of its surroundings each triangle sees, by a kernel in Warp."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError


def outside_visibility(
    vertices: Tensor,
    faces: Tensor,
    *,
    patches: Tensor | None = None,
    rays: int = 64,
    enough: int = 4,
) -> Tensor:
    """The fraction [P] of the directions in which each patch of `vertices` [V, 3], `faces` [F, 3] sees the outside.

    patches [F]: the number 0 .. P - 1 of the patch that a face belongs to; every number is used; None makes each face
    a patch of its own. Up to `rays` rays leave a patch from points spread over its faces, in directions spread over
    the sphere, on the side of the face on which they go: winding does not matter. A ray counts when it meets no face
    at all; a patch stops after `enough` such rays. A convex body has 0.5 without an early stop, as half the rays cross
    it. Points and directions are fixed: same input, same result. float32 on the same device.
    """
    if rays < 1 or enough < 1:
        raise InvalidInputError(f"rays and enough must be at least 1, not {rays} and {enough}.")
    vertices = vertices.detach().float().contiguous()
    if not len(faces):
        return vertices.new_zeros(0)
    # Imported at the call: Warp takes half a second to load and is needed for this alone.
    from trellis.ops.visibility.warp_backend import count_free_rays

    # Off the face, so that it does not shade itself; far less than the thickness of anything.
    lift = 2e-6 * float(torch.linalg.vector_norm(vertices.amax(0) - vertices.amin(0)))
    if patches is None:
        patches = torch.arange(len(faces), device=faces.device)
    members = patches.argsort(stable=True)
    starts = torch.cat([patches.new_zeros(1), torch.bincount(patches).cumsum(0)])
    free, cast = count_free_rays(
        vertices,
        faces.int().contiguous(),
        members=members.int(),
        starts=starts.int(),
        rays=rays,
        enough=enough,
        lift=lift,
    )
    return free / cast
