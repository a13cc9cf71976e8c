"""The texture of an unwrapped mesh, in closed form: colours are read off the full mesh or off views of the Gaussians.

No fitting and no random numbers: each texel knows its point in space, and takes the colour seen there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.unwrap import Unwrapped
from trellis.ops.closest_point import closest_point
from trellis.ops.rasterize import interpolate_attributes, rasterize_triangles
from trellis.progress import Progress
from trellis.representations import Mesh

CHUNK = 1 << 18  # texels between two looks at the cancel token


@dataclass(frozen=True)
class Texels:
    """The n texels of a size x size texture that lie on the surface.

    index [n] int64 = row * size + column, ascending; points [n, 3] and unit normals [n, 3] in the world.
    """

    size: int
    index: Tensor
    points: Tensor
    normals: Tensor

    def __len__(self) -> int:
        return len(self.index)


def surface_texels(unwrapped: Unwrapped, size: int, *, device: torch.device | None = None) -> Texels:
    """The points of the surface under the texel centres of a size x size texture."""
    flat = np.concatenate([unwrapped.uvs * size, np.zeros((len(unwrapped.uvs), 1))], axis=1)
    faces = torch.from_numpy(unwrapped.faces).to(device)
    attributes = np.concatenate([unwrapped.vertices, unwrapped.normals], axis=1)
    with torch.no_grad():
        samples = rasterize_triangles(_tensor(flat, device), faces, size=size, perspective=False)
        values = interpolate_attributes(samples, faces, _tensor(attributes, device)).reshape(-1, 6)
        index = samples.mask.reshape(-1).nonzero().squeeze(1)
    values = values[index]
    normals = torch.nn.functional.normalize(values[:, 3:], dim=1)
    return Texels(size, index, values[:, :3].contiguous(), normals)


def _tensor(values: NDArray, device: torch.device | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


def mesh_colors(texels: Texels, mesh: Mesh, *, progress: Progress | None = None) -> Tensor:
    """Colours [n, 3] of the points of the full-resolution `mesh` nearest to the texels.

    Where the nearest point belongs to a face that looks the other way (the back of a thin sheet), the search is
    repeated from a point lifted off the surface along the texel's normal. Raises InvalidInputError without colours.
    """
    if mesh.colors is None:
        raise InvalidInputError("The mesh has no vertex colours to bake; bake from the Gaussians instead.")
    progress = progress or Progress()
    corners = mesh.vertices[mesh.faces.long()]
    face_normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lift = 0.01 * torch.linalg.vector_norm(mesh.vertices.amax(0) - mesh.vertices.amin(0))
    found = closest_point(texels.points, mesh.vertices, mesh.faces)
    progress.cancel.raise_if_cancelled()
    faces, weights = found.faces, found.barycentrics
    wrong = ((face_normals[faces] * texels.normals).sum(1) < 0).nonzero().squeeze(1)
    if len(wrong):
        raised = texels.points[wrong] + lift * texels.normals[wrong]
        again = closest_point(raised, mesh.vertices, mesh.faces)
        better = (face_normals[again.faces] * texels.normals[wrong]).sum(1) > 0
        faces[wrong[better]] = again.faces[better]
        weights[wrong[better]] = again.barycentrics[better]
    colors = torch.empty(len(texels), 3, device=texels.points.device)
    for start in range(0, len(texels), CHUNK):
        progress.cancel.raise_if_cancelled()
        part = slice(start, start + CHUNK)
        values = mesh.colors[mesh.faces[faces[part]].long()]
        colors[part] = (values * weights[part][..., None]).sum(1)
    return colors


def texture_image(texels: Texels, colors: Tensor) -> NDArray[np.uint8]:
    """The picture [size, size, 3] uint8 of texel `colors` [n, 3] in [0, 1] (sRGB).

    Texels off the surface repeat the nearest one on it, so that filtering across a seam never meets a foreign colour.
    """
    if not len(texels):
        raise InvalidInputError("No texel lies on the surface; use a larger texture.")
    size = texels.size
    image = np.zeros((size * size, 3), dtype=np.uint8)
    index = texels.index.cpu().numpy()
    image[index] = (colors.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    empty = np.ones(size * size, dtype=bool)
    empty[index] = False
    if empty.any():
        nearest = distance_transform_edt(empty.reshape(size, size), return_distances=False, return_indices=True)
        image = image[(nearest[0] * size + nearest[1]).reshape(-1)]
    return image.reshape(size, size, 3)
