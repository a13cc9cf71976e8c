"""Normal maps: the relief of the full-resolution mesh, as a texture of the simplified one.

Tangent space as glTF has it: red along the tangent, green along `w * cross(normal, tangent)` (up in the texture), blue
along the normal. The frame of a texel is the linear, unnormalised interpolation of its face's vertex normals and
tangents, as in MikkTSpace; the tangents are those of `vertex_tangents`, which are to be written into the file. Viewers
that derive tangents themselves differ by the spread of the texture's directions within a chart.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.bake import CHUNK, FacingSurface, Texels, as_bytes, dilated
from trellis.export.surface import Surface, vertex_normals
from trellis.export.tangents import vertex_tangents
from trellis.export.unwrap import Unwrapped
from trellis.ops.rasterize import interpolate_attributes, rasterize_triangles
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.stages import Stage

# A normal seen from behind the simplified surface cannot be shown; it is leaned back to just above the horizon.
LEAST_HEIGHT = 0.05


def normal_map(
    texels: Texels, unwrapped: Unwrapped, full: Mesh, *, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """The normal map [S, S, 3] uint8 of `full` on the `texels` of `unwrapped`, dilated like the texture.

    Each texel takes the smooth normal of the nearest point of `full` that faces its way. Reports each portion of texels
    as a step and can be cancelled there.
    """
    progress = progress or Progress()
    if not len(texels):
        raise InvalidInputError("No texel lies on the surface; use a larger texture.")
    device = texels.points.device
    smooth = torch.from_numpy(vertex_normals(Surface.from_mesh(full)).astype(np.float32)).to(device)
    surface, frames = FacingSurface(full), texel_frames(texels, unwrapped)
    values = torch.empty(len(texels), 3, device=device)
    for number in progress.steps(Stage.NORMAL_MAP, -(-len(texels) // CHUNK)):
        part = slice(number * CHUNK, (number + 1) * CHUNK)
        faces, weights = surface.nearest(texels.points[part], texels.normals[part])
        normals = (smooth[full.faces[faces].long()] * weights[..., None]).sum(1)
        values[part] = to_tangent_space(torch.nn.functional.normalize(normals, dim=1), frames[part])
    return as_bytes(dilated(texels, 0.5 + 0.5 * values))


def texel_frames(texels: Texels, unwrapped: Unwrapped) -> Tensor:
    """Frames [n, 3, 3] of the texels: rows tangent, bitangent, normal, interpolated and not normalised."""
    tangents = vertex_tangents(unwrapped.vertices, unwrapped.normals, uvs=unwrapped.uvs, faces=unwrapped.faces)
    device, size = texels.points.device, texels.size
    flat = np.concatenate([unwrapped.uvs * size, np.zeros((len(unwrapped.uvs), 1))], axis=1)
    faces = torch.from_numpy(unwrapped.faces).to(device)
    attributes = np.concatenate([unwrapped.normals, tangents], axis=1).astype(np.float32)
    with torch.no_grad():
        points = torch.from_numpy(flat.astype(np.float32)).to(device)
        samples = rasterize_triangles(points, faces, size=size, perspective=False)
        values = interpolate_attributes(samples, faces, torch.from_numpy(attributes).to(device))
    normal, tangent, sign = values.reshape(-1, 7)[texels.index].split([3, 3, 1], dim=1)
    turn = torch.where(sign < 0, -1.0, 1.0)
    return torch.stack([tangent, turn * torch.linalg.cross(normal, tangent), normal], dim=1)


def to_tangent_space(normals: Tensor, frames: Tensor) -> Tensor:
    """Unit coordinates [n, 3] such that a viewer's normalize(coordinates @ frame) is each of `normals` [n, 3].

    frames [n, 3, 3]; the height above the surface is at least LEAST_HEIGHT.
    """
    # Frames of slivers can be singular; there the pseudo-inverse keeps what can be said.
    determinant = torch.linalg.det(frames)
    usable = determinant.abs() > 1e-4
    safe = torch.where(usable[:, None, None], frames, torch.eye(3, device=frames.device))
    local = torch.linalg.solve(safe.transpose(1, 2), normals[..., None])[..., 0]
    local = torch.where(usable[:, None], local, local.new_tensor([0.0, 0.0, 1.0]))
    local = torch.nn.functional.normalize(local, dim=1)
    local[:, 2].clamp_(min=LEAST_HEIGHT)
    return torch.nn.functional.normalize(local, dim=1)
