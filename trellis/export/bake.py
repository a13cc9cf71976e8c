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
from trellis.ops.closest_point import closest_query
from trellis.ops.half_edges import face_vectors
from trellis.ops.rasterize import interpolate_attributes, rasterize_triangles
from trellis.progress import Progress
from trellis.representations import Mesh

CHUNK = 1 << 20  # texels between two looks at the cancel token


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

    def part(self, chosen: Tensor) -> "Texels":
        """Those of a mask `chosen` [n]."""
        return Texels(self.size, self.index[chosen], self.points[chosen], self.normals[chosen])


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


def unwrapped_mesh(unwrapped: Unwrapped, device: torch.device | None = None) -> Mesh:
    """The unwrapped surface as a mesh without attributes; its faces keep their numbers."""
    return Mesh(_tensor(unwrapped.vertices, device), torch.from_numpy(unwrapped.faces.astype(np.int32)).to(device))


def _tensor(values: NDArray, device: torch.device | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


class FacingSurface:
    """A mesh that is asked for its nearest points that face a given way; its tree is built once."""

    def __init__(self, mesh: Mesh) -> None:
        self._nearest = closest_query(mesh.vertices, mesh.faces)
        self._normals = face_vectors(mesh.vertices[mesh.faces.long()])
        self._lift = 0.01 * torch.linalg.vector_norm(mesh.vertices.amax(0) - mesh.vertices.amin(0))

    def nearest(self, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Faces [n] and barycentrics [n, 3] of the points nearest to `points` [n, 3] with unit `normals` [n, 3].

        Where the nearest point belongs to a face that looks the other way (the back of a thin sheet), the search is
        repeated from a point lifted off the surface along the normal.
        """
        found = self._nearest(points)
        faces, weights = found.faces, found.barycentrics
        wrong = ((self._normals[faces] * normals).sum(1) < 0).nonzero().squeeze(1)
        if len(wrong):
            again = self._nearest(points[wrong] + self._lift * normals[wrong])
            better = (self._normals[again.faces] * normals[wrong]).sum(1) > 0
            faces[wrong[better]] = again.faces[better]
            weights[wrong[better]] = again.barycentrics[better]
        return faces, weights


def mesh_colors(texels: Texels, mesh: Mesh, *, progress: Progress | None = None) -> Tensor:
    """Colours [n, 3] of the points of the full-resolution `mesh` nearest to the texels (see `FacingSurface`).

    Raises InvalidInputError without colours, Cancelled between two portions of texels.
    """
    if mesh.colors is None:
        raise InvalidInputError("The mesh has no vertex colours to bake; bake from the Gaussians instead.")
    progress = progress or Progress()
    surface, colors = FacingSurface(mesh), torch.empty(len(texels), 3, device=texels.points.device)
    for start in range(0, len(texels), CHUNK):
        progress.cancel.raise_if_cancelled()
        part = slice(start, start + CHUNK)
        faces, weights = surface.nearest(texels.points[part], texels.normals[part])
        colors[part] = (mesh.colors[mesh.faces[faces].long()] * weights[..., None]).sum(1)
    return colors


def surface_mask(texels: Texels) -> Tensor:
    """Bool [size, size]: the texels that lie on the surface."""
    mask = torch.zeros(texels.size**2, dtype=torch.bool, device=texels.index.device)
    mask[texels.index] = True
    return mask.reshape(texels.size, texels.size)


def dilated(texels: Texels, values: Tensor) -> Tensor:
    """An image [size, size, k] of `values` [n, k] of the texels, where those off the surface repeat the nearest one.

    So filtering across a seam, and the smaller versions of the texture that viewers make, meet no foreign colour.
    """
    if not len(texels):
        raise InvalidInputError("No texel lies on the surface; use a larger texture.")
    image = torch.zeros(texels.size**2, values.shape[1], dtype=values.dtype, device=values.device)
    image[texels.index] = values
    return filled(image.reshape(texels.size, texels.size, -1), surface_mask(texels))


def filled(image: Tensor, known: Tensor) -> Tensor:
    """`image` [H, W, k] with the pixels that are not `known` [H, W] (some are) like the nearest one that is."""
    empty = ~known.cpu().numpy()
    if not empty.any():
        return image
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    off = torch.from_numpy(np.flatnonzero(empty))
    source = torch.from_numpy((nearest[0].astype(np.int64) * empty.shape[1] + nearest[1]).reshape(-1))[off]
    flat = image.reshape(empty.size, -1).clone()
    flat[off.to(image.device)] = flat[source.to(image.device)]
    return flat.reshape(image.shape)


def as_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Values in [0, 1] as uint8 on the CPU."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
