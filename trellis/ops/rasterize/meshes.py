"""Pictures of meshes, antialiased: values of the faces and of the vertices, depth and coverage from many cameras."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize.backends import TRIANGLE_BACKENDS, choose_backend
from trellis.ops.rasterize.triangles import interpolate_attributes, rasterize_triangles

NEAR = 1e-2
# What the picture of the faces' values shows where the mesh is not: the mid grey of encoded normals.
BACKGROUND = 0.5


def project_vertices(vertices: Tensor, extrinsics: Tensor, intrinsics: Tensor, size: int) -> Tensor:
    """World points [V, 3] to (x, y) in pixels, image spanning [0, size], and camera z: input of the rasteriser."""
    camera = torch.addmm(extrinsics[:3, 3], vertices, extrinsics[:3, :3].T)
    z = camera[:, 2:]
    safe = torch.where(z.abs() < NEAR, NEAR, z)
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    return torch.cat([(camera[:, :2] / safe * focal + intrinsics[:2, 2]) * size, z], dim=1)


def draw_mesh(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    *,
    face_values: Tensor,
    vertex_values: Tensor | None,
    size: int,
    supersampling: int,
    texture: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Draw a mesh into V cameras: [V, 8, size, size] of vertex values (0..2), face values (3..5), depth and coverage.

    vertices [n, 3] world; faces [F, 3]; face_values [F, 3]: constant on each face, 0.5 where no mesh is; vertex_values
    [n, 3] or None (0): perspective-correct. With a texture [h, w, 3] they are uvs [n, 2], from its top left, in whose
    place its bilinear values come, beyond it those of its border. Depth is camera z. supersampling^2 samples a pixel
    are reduced by an antialiased bilinear filter (`torch.nn.functional.interpolate` on the reference back end). Faces
    that reach nearer than NEAR to the camera's plane are left out. Differentiable on the reference back end and the
    adapters.
    Raises InvalidInputError for an unknown back end or unusable sizes.
    """
    if size < 1 or not 1 <= supersampling <= 8:
        raise InvalidInputError(
            f"Image size must be positive and supersampling 1 to 8, not {size} and {supersampling}."
        )
    given = (vertices, face_values, vertex_values, texture)
    tensors = [tensor for tensor in given if tensor is not None]
    if choose_backend(backend, *tensors, among=TRIANGLE_BACKENDS) == "warp":
        # Imported at the call: Warp takes half a second to load.
        from trellis.ops.rasterize import warp_meshes

        return warp_meshes.draw_mesh(
            vertices,
            faces,
            cameras,
            face_values=face_values,
            vertex_values=vertex_values,
            texture=texture,
            size=size,
            supersampling=supersampling,
            limits=(NEAR, BACKGROUND),
        )
    # One extra row: face -1 finds the background.
    face_values = torch.cat([face_values, face_values.new_full((1, 3), BACKGROUND)])
    pictures = []
    for pose, lens in zip(cameras.extrinsics, cameras.intrinsics):
        points = project_vertices(vertices, pose, lens, size * supersampling)
        samples = rasterize_triangles(points, faces, size=size * supersampling, near=NEAR, backend=backend)
        color = samples.barycentric.new_zeros(*samples.mask.shape, 3)
        if vertex_values is not None:
            color = interpolate_attributes(samples, faces, vertex_values, backend=backend)
            color = color if texture is None else _looked_up(texture, color) * samples.mask[..., None]
        flat = face_values[samples.face_id.long()]
        mask = samples.mask[..., None].to(color)
        pictures.append(torch.cat([color, flat, samples.depth[..., None], mask], dim=2).permute(2, 0, 1))
    channels = torch.stack(pictures) if pictures else vertices.new_zeros(0, 8, size, size)
    if supersampling == 1 or not pictures:
        return channels
    return torch.nn.functional.interpolate(
        channels, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def _looked_up(texture: Tensor, uvs: Tensor) -> Tensor:
    """Bilinear values [H, W, 3] of a texture [h, w, 3] at uvs [H, W, 2]."""
    grid, values = uvs[None] * 2 - 1, texture.permute(2, 0, 1)[None]
    found = torch.nn.functional.grid_sample(values, grid, padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0)
