"""Colours at points of a surface: texture, base colour and vertex colour, as glTF multiplies them."""

import torch
from torch import Tensor

from trellis.encoding.source_mesh import Material, SourceMesh, Texture, linear_from_srgb, srgb_from_linear
from trellis.runtime import has_float64


def surface_colors(mesh: SourceMesh, faces: Tensor, barycentrics: Tensor) -> Tensor:
    """sRGB colours and alpha [n, 4] in [0, 1] at points given by `faces` [n] and `barycentrics` [n, 3].

    Texture coordinates and vertex colours are interpolated, the texture is decoded to linear light and filtered
    bilinearly with its wrapping, everything is multiplied in linear light (glTF 2.0, 3.9.2), the result encoded. Alpha
    is 1 on opaque materials, 0 or 1 on masked ones.
    """
    weights = barycentrics.to(mesh.device).float()[..., None]
    corners = mesh.faces[faces]
    colors = (mesh.vertex_colors[corners] * weights).sum(1)
    uvs = (mesh.uvs[corners] * weights).sum(1)
    owner = mesh.face_materials[faces]
    for number in torch.unique(owner).tolist():
        rows = (owner == number).nonzero().squeeze(1)
        colors[rows] = _shaded(mesh, mesh.materials[number], colors[rows], uvs[rows])
    return torch.cat([srgb_from_linear(colors[:, :3]), colors[:, 3:].clamp(0, 1)], 1)


def _shaded(mesh: SourceMesh, material: Material, colors: Tensor, uvs: Tensor) -> Tensor:
    colors = colors * colors.new_tensor(material.base_color)
    if material.texture is not None:
        colors = colors * sample_texture(mesh.textures[material.texture], uvs)
    if material.alpha_mode == "opaque":
        return torch.cat([colors[:, :3], torch.ones_like(colors[:, 3:])], 1)
    if material.alpha_mode == "mask":
        return torch.cat([colors[:, :3], (colors[:, 3:] >= material.alpha_cutoff).to(colors)], 1)
    return colors


def sample_texture(texture: Texture, uvs: Tensor) -> Tensor:
    """Linear rgb and alpha [n, 4] of a texture at `uvs` [n, 2], origin at the top left; texel centres are at halves."""
    height, width = texture.pixels.shape[:2]
    size = torch.tensor([width, height], device=uvs.device)
    # Far coordinates lose their place within the picture in float32.
    place = uvs.double() * size if has_float64(uvs.device) else uvs * size
    place = place - 0.5
    low = place.floor()
    across, down = (place - low).float().unbind(1)
    result = torch.zeros(len(uvs), 4, device=uvs.device)
    for x, weight_x in ((0, 1 - across), (1, across)):
        for y, weight_y in ((0, 1 - down), (1, down)):
            step = torch.tensor([x, y], device=uvs.device)
            result += _texels(texture, low.long() + step) * (weight_x * weight_y)[:, None]
    return result


def _texels(texture: Texture, place: Tensor) -> Tensor:
    """Linear rgb and alpha [n, 4] of texels (column, row) [n, 2] anywhere on the wrapped plane."""
    height, width = texture.pixels.shape[:2]
    column = _wrapped(place[:, 0], width, texture.wrap[0])
    row = _wrapped(place[:, 1], height, texture.wrap[1])
    values = texture.pixels[row, column].float() / 255
    return torch.cat([linear_from_srgb(values[:, :3]), values[:, 3:]], 1)


def _wrapped(index: Tensor, size: int, mode: str) -> Tensor:
    if mode == "clamp":
        return index.clamp(0, size - 1)
    if mode == "repeat":
        return index.remainder(size)
    turned = index.remainder(2 * size)
    return torch.where(turned < size, turned, 2 * size - 1 - turned)
