"""Pictures of meshes: colour, flat normals, depth and mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops import rasterize
from trellis.representations import Mesh

NEAR = 1e-2


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
    a, b, c = mesh.vertices[mesh.faces.long()].unbind(1)
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1, eps=1e-20)


def project_vertices(vertices: Tensor, extrinsics: Tensor, intrinsics: Tensor, size: int) -> Tensor:
    """World points [V, 3] to (x, y) in pixels, image spanning [0, size], and camera z: input of the rasteriser."""
    camera = torch.addmm(extrinsics[:3, 3], vertices, extrinsics[:3, :3].T)
    z = camera[:, 2:]
    safe = torch.where(z.abs() < NEAR, NEAR, z)
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    return torch.cat([(camera[:, :2] / safe * focal + intrinsics[:2, 2]) * size, z], dim=1)


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
    Source: spec "Rendering and export", Mesh. Raises InvalidInputError for unusable options.
    """
    if size < 1 or not 1 <= supersampling <= 8:
        raise InvalidInputError(
            f"Image size must be positive and supersampling 1 to 8, not {size} and {supersampling}."
        )
    source = mesh.vertices.device
    attributes = [mesh.vertices] if mesh.attributes is None else [mesh.vertices, mesh.attributes]
    device = rasterize.rendering_device(source, backend, *attributes)
    mesh = Mesh(
        mesh.vertices.to(device).float(),
        mesh.faces.to(device).int(),
        None if mesh.attributes is None else mesh.attributes.to(device).float(),
    )
    normals = 0.5 * face_normals(mesh) + 0.5
    # One extra row: face -1 finds the mid grey of the background.
    normals = torch.cat([normals, normals.new_full((1, 3), 0.5)])
    pictures = [
        _render_view(mesh, normals, camera.to(device), size=size, supersampling=supersampling, backend=backend)
        for camera in cameras
    ]
    stacked = torch.stack(pictures).to(source)
    return MeshImages(stacked[:, 0:3], stacked[:, 3:6], stacked[:, 6], stacked[:, 7])


def _render_view(
    mesh: Mesh, normals: Tensor, camera: Cameras, *, size: int, supersampling: int, backend: str
) -> Tensor:
    """Channels [8, size, size] of one camera: colour, normal (out of encoded `normals` [F + 1, 3]), depth, mask."""
    samples = rasterize_mesh(mesh, camera, size=size * supersampling, backend=backend)
    mask = samples.mask
    if mesh.colors is None:
        color = torch.zeros(*mask.shape, 3, device=mask.device)
    else:
        color = rasterize.interpolate_attributes(samples, mesh.faces, mesh.colors, backend=backend)
    normal = normals[samples.face_id]
    channels = torch.cat([color, normal, samples.depth[..., None], mask[..., None].to(color)], dim=2).permute(2, 0, 1)
    if supersampling == 1:
        return channels
    reduced = torch.nn.functional.interpolate(
        channels[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return reduced[0]
