"""Pictures of textured meshes: what a viewer shows of a GLB file, simply lit."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.ops import rasterize
from trellis.rendering.backgrounds import background_color
from trellis.rendering.images import ColorImages
from trellis.rendering.mesh import face_normals, rasterize_mesh
from trellis.representations import Mesh

# Per shading: ambient light, and lights as (direction towards the light in the camera's frame: x right, y down,
# z forward; strength). No light comes to more than about 1 in total where surfaces face the viewer.
LIGHTS: dict[str, tuple[float, list[tuple[tuple[float, float, float], float]]]] = {
    "none": (1.0, []),
    "headlight": (0.35, [((0.0, 0.0, -1.0), 0.65)]),
    "studio": (0.45, [((-0.5, -0.7, -0.8), 0.45), ((0.8, -0.1, -0.6), 0.2), ((0.0, -0.9, 0.5), 0.2)]),
}


def render_textured_mesh(
    vertices: Tensor,
    faces: Tensor,
    *,
    uvs: Tensor,
    texture: Tensor,
    cameras: Cameras,
    size: int,
    normals: Tensor | None = None,
    tangents: Tensor | None = None,
    normal_map: Tensor | None = None,
    supersampling: int = 2,
    shading: str = "studio",
    background: str | tuple[float, float, float] = "white",
    backend: str = "auto",
) -> ColorImages:
    """Render a textured mesh into V square images of `size` pixels on the mesh's device.

    vertices [V, 3] in the world (z-up); faces [F, 3], counter-clockwise from outside; uvs [V, 2] with the origin at the
    top left of `texture` [H, W, 3] in [0, 1], which is read bilinearly and repeats its border outside; normals [V, 3],
    by default flat ones of the faces. normal_map [H, W, 3] in [0, 1] (tangent space as glTF has it) bends the normals;
    it needs them and tangents [V, 4] (direction of u, sign of the bitangent). shading: none, headlight or studio (three
    lights that move with the camera), as factors of the stored sRGB colours. supersampling: samples a pixel side, 1..8.
    Both sides of a face are drawn and lit. Raises InvalidInputError for unusable shapes or options.
    """
    _check(vertices, faces, uvs, texture, normals)
    if normal_map is not None:
        _check_relief(vertices, normals, tangents, normal_map)
    if shading not in LIGHTS:
        raise InvalidInputError(f"Unknown shading {shading!r}; choose one of {', '.join(LIGHTS)}.")
    if size < 1 or not 1 <= supersampling <= 8:
        raise InvalidInputError(
            f"Image size must be positive and supersampling 1 to 8, not {size} and {supersampling}."
        )
    source = vertices.device
    if shading == "none":
        return _unlit(vertices, faces, uvs, texture, cameras, size, supersampling, background, backend)
    device = rasterize.rendering_device(source, backend, vertices, uvs, texture)
    mesh = Mesh(vertices.to(device).float(), faces.to(device).int())
    texture = texture.to(device).float().permute(2, 0, 1)[None]
    flat = normals is None
    columns = [column for column in (uvs, normals, tangents) if column is not None]
    relief = None if normal_map is None else normal_map.to(device).float().permute(2, 0, 1)[None]
    attributes = torch.cat([column.to(device).float() for column in columns], dim=1)
    behind = background_color(background).to(device)
    flat_normals = face_normals(mesh)
    pictures = []
    for camera in cameras.to(device):
        samples = rasterize_mesh(mesh, camera, size=size * supersampling, backend=backend)
        seen = samples.mask
        values = rasterize.interpolate_attributes(samples, mesh.faces, attributes, backend=backend)[seen]
        color = _lookup(texture, values[:, :2])
        normal = flat_normals[samples.face_id[seen].long()] if flat else values[:, 2:5]
        if relief is not None:
            normal = _bent(normal, values[:, 5:9], _lookup(relief, values[:, :2]))
        color = color * _light(normal, camera, shading)
        channels = torch.cat([behind, behind.new_zeros(1)])[:, None, None].repeat(1, *seen.shape)
        channels.masked_scatter_(seen, torch.cat([color, color.new_ones(1, color.shape[1])]))
        pictures.append(_reduced(channels, size))
    stacked = torch.stack(pictures).to(source)
    return ColorImages(stacked[:, :3], stacked[:, 3])


def _unlit(
    vertices: Tensor, faces: Tensor, uvs: Tensor, texture: Tensor, cameras: Cameras, size: int, supersampling: int,
    background: str | tuple[float, float, float], backend: str
) -> ColorImages:  # fmt: skip
    """The colours of the texture as they are, drawn in one go."""
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


def _lookup(texture: Tensor, uvs: Tensor) -> Tensor:
    """Bilinear values [k, n] of a texture [1, k, h, w] at uvs [n, 2]."""
    return torch.nn.functional.grid_sample(
        texture, uvs[None, None] * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]


def _bent(normal: Tensor, tangent: Tensor, stored: Tensor) -> Tensor:
    """Normals [n, 3] of interpolated frames (normals [n, 3], tangents [n, 4]) and a map's values [3, n]."""
    across, up, out = (stored * 2 - 1)[..., None]
    bitangent = torch.where(tangent[..., 3:] < 0, -1.0, 1.0) * torch.linalg.cross(normal, tangent[..., :3])
    return across * tangent[..., :3] + up * bitangent + out * normal


def _light(normals: Tensor, camera: Cameras, shading: str) -> Tensor:
    """Brightness [n] at most 1 of world normals [n, 3]; a back face is lit like its front."""
    local = torch.nn.functional.normalize(normals, dim=-1) @ camera.extrinsics[0, :3, :3].T
    local = torch.where(local[..., 2:] > 0, -local, local)
    ambient, lights = LIGHTS[shading]
    total = torch.full(local.shape[:1], ambient, device=local.device)
    for direction, strength in lights:
        towards = torch.nn.functional.normalize(local.new_tensor(direction), dim=0)
        total = total + strength * (local @ towards).clamp_min(0)
    return total.clamp(max=1)


def _reduced(channels: Tensor, size: int) -> Tensor:
    """Mean colour and coverage, [4, size, size], of samples [4, s, s]."""
    if channels.shape[-1] == size:
        return channels
    return torch.nn.functional.interpolate(
        channels[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )[0]


def _check(vertices: Tensor, faces: Tensor, uvs: Tensor, texture: Tensor, normals: Tensor | None) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InvalidInputError(
            f"A mesh needs vertices [V, 3] and faces [F, 3], not {list(vertices.shape)} and {list(faces.shape)}."
        )
    if uvs.shape != (len(vertices), 2):
        raise InvalidInputError(f"Texture coordinates must be [{len(vertices)}, 2], not {list(uvs.shape)}.")
    if normals is not None and normals.shape != vertices.shape:
        raise InvalidInputError(f"Normals must be {list(vertices.shape)}, not {list(normals.shape)}.")
    if texture.ndim != 3 or texture.shape[2] != 3 or not texture.is_floating_point():
        raise InvalidInputError(f"A texture is [H, W, 3] in [0, 1], not {texture.dtype} {list(texture.shape)}.")


def _check_relief(vertices: Tensor, normals: Tensor | None, tangents: Tensor | None, normal_map: Tensor) -> None:
    if normals is None or tangents is None or tangents.shape != (len(vertices), 4):
        raise InvalidInputError("A normal map needs normals [V, 3] and tangents [V, 4].")
    if normal_map.ndim != 3 or normal_map.shape[2] != 3 or not normal_map.is_floating_point():
        raise InvalidInputError(
            f"A normal map is [H, W, 3] in [0, 1], not {normal_map.dtype} {list(normal_map.shape)}."
        )
