"""Pictures of textured meshes in the colours of their textures, unlit."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops import rasterize
from trellis.rendering.backgrounds import background_color
from trellis.rendering.images import ColorImages


def render_textured_mesh(
    vertices: Tensor,
    faces: Tensor,
    *,
    uvs: Tensor,
    texture: Tensor,
    cameras: Cameras,
    size: int,
    supersampling: int = 2,
    background: str | tuple[float, float, float] = "white",
    backend: str = "auto",
) -> ColorImages:
    """Render a textured mesh into V square images of `size` pixels on the mesh's device.

    vertices [V, 3] in the world (z-up); faces [F, 3], counter-clockwise from outside; uvs [V, 2] with the origin at the
    top left of `texture` [H, W, 3] in [0, 1], which is read bilinearly and repeats its border outside. supersampling:
    samples a pixel side, 1..8. Both sides of a face are drawn. Raises InvalidInputError for unusable shapes or options.
    """
    _check(vertices, faces, uvs, texture)
    device = rasterize.rendering_device(vertices.device, backend, vertices, uvs, texture)
    images = rasterize.draw_mesh(
        vertices.to(device).float(),
        faces.to(device).int(),
        cameras.to(device),
        face_values=vertices.new_zeros(len(faces), 3, device=device, dtype=torch.float32),
        vertex_values=uvs.to(device).float(),
        texture=texture.to(device).float(),
        size=size,
        supersampling=supersampling,
        backend=backend,
    ).to(vertices.device)
    alpha = images[:, 7]
    behind = background_color(background).to(alpha)[:, None, None]
    return ColorImages(images[:, :3] + behind * (1 - alpha[:, None]), alpha)


def _check(vertices: Tensor, faces: Tensor, uvs: Tensor, texture: Tensor) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InvalidInputError(
            f"A mesh needs vertices [V, 3] and faces [F, 3], not {list(vertices.shape)} and {list(faces.shape)}."
        )
    if uvs.shape != (len(vertices), 2):
        raise InvalidInputError(f"Texture coordinates must be [{len(vertices)}, 2], not {list(uvs.shape)}.")
    if texture.ndim != 3 or texture.shape[2] != 3 or not texture.is_floating_point():
        raise InvalidInputError(f"A texture is [H, W, 3] in [0, 1], not {texture.dtype} {list(texture.shape)}.")
