"""Pictures of meshes: colour, flat normals, depth and mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops import rasterize
from trellis.ops.half_edges import face_vectors
from trellis.ops.rasterize.meshes import NEAR, project_vertices
from trellis.representations import Mesh


@dataclass(frozen=True)
class MeshImages:
    """V images of a mesh; every picture is the antialiased mean of its samples.

    color [V, 3, H, W] interpolated vertex colours, 0 on the background; normal [V, 3, H, W] flat face normals in the
    world as (n + 1) / 2, 0.5 on the background; depth [V, H, W] camera z, 0 on the background; mask [V, H, W] coverage.
    """

    color: Tensor
    normal: Tensor
    depth: Tensor
    mask: Tensor


def face_normals(mesh: Mesh) -> Tensor:
    """Unit normals [F, 3] of the faces, counter-clockwise seen from outside; 0 for degenerate faces."""
    return torch.nn.functional.normalize(face_vectors(mesh.vertices[mesh.faces.long()]), dim=1, eps=1e-20)


def rasterize_mesh(mesh: Mesh, camera: Cameras, *, size: int, backend: str = "auto") -> rasterize.TriangleSamples:
    """Face, barycentrics and depth at the `size` x `size` samples of one camera (V = 1)."""
    if len(camera) != 1:
        raise InvalidInputError(f"One camera at a time, not {len(camera)}.")
    camera = camera.to(mesh.vertices.device)
    points = project_vertices(mesh.vertices.float(), camera.extrinsics[0], camera.intrinsics[0], size)
    return rasterize.rasterize_triangles(points, mesh.faces, size=size, near=NEAR, backend=backend)


def render_mesh(
    mesh: Mesh, cameras: Cameras, *, size: int, supersampling: int = 2, backend: str = "auto"
) -> MeshImages:
    """Render a mesh into V square images of `size` pixels on the mesh's device.

    supersampling: samples a pixel side, 1..8; the samples are reduced by an antialiased bilinear filter. A mesh without
    attributes has colour 0. Faces that reach nearer than 0.01 to the camera's plane are left out.
    Source: docs/developer/model-facts.md, section 16. Raises InvalidInputError for unusable options.
    """
    source = mesh.vertices.device
    attributes = [mesh.vertices] if mesh.attributes is None else [mesh.vertices, mesh.attributes]
    device = rasterize.rendering_device(source, backend, *attributes)
    mesh = Mesh(
        mesh.vertices.to(device).float(),
        mesh.faces.to(device).int(),
        None if mesh.attributes is None else mesh.attributes.to(device).float(),
    )
    images = rasterize.draw_mesh(
        mesh.vertices,
        mesh.faces,
        cameras.to(device),
        face_values=0.5 * face_normals(mesh) + 0.5,
        vertex_values=mesh.colors,
        size=size,
        supersampling=supersampling,
        backend=backend,
    ).to(source)
    return MeshImages(images[:, 0:3], images[:, 3:6], images[:, 6], images[:, 7])
