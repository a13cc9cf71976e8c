"""Closest point by Warp's bounding volume tree, on the CPU or an NVIDIA GPU."""

# mypy: disable-error-code="valid-type, attr-defined, arg-type, no-untyped-def, operator"
# (kernels are Python in form only: Warp compiles them, and its types are values)
from collections.abc import Callable

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device


@wp.kernel
def _query(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
    first: int,
):
    i = first + wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, points[i], 1.0e30)
    faces[i] = found.face
    weights[i] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)


def build(vertices: Tensor, faces: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The query: points [n, 3] -> face numbers [n] int64 and barycentrics [n, 3] of the nearest surface points."""
    mesh = warp_device.mesh(vertices, faces)

    def nearest(points: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.zeros(len(points), dtype=torch.int32, device=points.device)
        weights = torch.zeros(len(points), 3, device=points.device)
        inputs = [mesh.id, points, found, weights]
        warp_device.launch_items(_query, len(points), inputs, device=points.device, grain=1 << 10)
        wp.synchronize_device(mesh.device)  # the tree must outlive the kernel
        return found.long(), weights

    return nearest
