"""Winding number by Warp's bounding volume tree, on the CPU or an NVIDIA GPU."""

# mypy: disable-error-code="valid-type, attr-defined, arg-type, no-untyped-def"
# (kernels are Python in form only: Warp compiles them, and its types are values)
from collections.abc import Callable

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device

_FAR = 1.0e30
_ACCURACY = 3.0  # distance, in sizes of a group of faces, beyond which the group counts as one


@wp.kernel
def _query(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), threshold: wp.float32, inside: wp.array(dtype=wp.int32)):
    i = wp.tid()
    found = wp.mesh_query_point_sign_winding_number(mesh, points[i], _FAR, _ACCURACY, threshold)
    if found.sign < 0.0:
        inside[i] = 1


def build(vertices: Tensor, faces: Tensor, threshold: float) -> Callable[[Tensor], Tensor]:
    """The query: points [n, 3] -> bool [n], winding number above `threshold`."""
    device = warp_device.device_of(vertices.device)
    with wp.ScopedDevice(device):
        mesh = wp.Mesh(
            points=wp.from_torch(vertices, dtype=wp.vec3),
            indices=wp.from_torch(faces.int().contiguous().reshape(-1), dtype=wp.int32),
            support_winding_number=True,
        )

    def inside(points: Tensor) -> Tensor:
        result = torch.zeros(len(points), dtype=torch.int32, device=points.device)
        with wp.ScopedDevice(device):
            wp.launch(
                _query,
                dim=len(points),
                inputs=[mesh.id, wp.from_torch(points, dtype=wp.vec3), threshold],
                outputs=[wp.from_torch(result, dtype=wp.int32)],
            )
            wp.synchronize_device(device)
        return result.bool()

    return inside
