"""Closest point by Warp's bounding volume tree, on the CPU or an NVIDIA GPU."""

# mypy: disable-error-code="valid-type, attr-defined, arg-type, no-untyped-def"
# (kernels are Python in form only: Warp compiles them, and its types are values)
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
):
    i = wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, points[i], 1.0e30)
    faces[i] = found.face
    weights[i] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)


def nearest(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Face numbers [n] int64 and barycentrics [n, 3] of the surface points nearest to `points` [n, 3]."""
    device = warp_device.device_of(points.device)
    found = torch.zeros(len(points), dtype=torch.int32, device=points.device)
    weights = torch.zeros(len(points), 3, device=points.device)
    with wp.ScopedDevice(device):
        mesh = wp.Mesh(
            points=wp.from_torch(vertices, dtype=wp.vec3),
            indices=wp.from_torch(faces.int().contiguous().reshape(-1), dtype=wp.int32),
        )
        wp.launch(
            _query,
            dim=len(points),
            inputs=[mesh.id, wp.from_torch(points, dtype=wp.vec3)],
            outputs=[wp.from_torch(found, dtype=wp.int32), wp.from_torch(weights, dtype=wp.vec3)],
        )
        wp.synchronize_device(device)
    return found.long(), weights
