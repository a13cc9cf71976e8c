"""What of an object is to change: boxes, voxels or the inside of a closed mesh, as voxels of a model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trellis.editing.boxes import MOST_BOXES, Box
from trellis.encoding.load import load_mesh
from trellis.encoding.orientation import is_closed, outward_faces
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.geometry.axes import to_gltf_frame
from trellis.geometry.similarity import Similarity
from trellis.ops.winding_number import inside_query

CLIPPED = "The region reaches beyond the model's space; what lies outside of it does not change."
WHOLE = "The region holds the whole object, so nothing of it would stay: generate instead, or make the region smaller."
NOTHING_LEFT = "The region holds the whole object, so nothing of it would be left: make the region smaller."


@dataclass(frozen=True)
class Region:
    """The union of boxes, of voxels int32 [n, 3] of the model's grid, and of the inside of a closed mesh.

    The mesh is in the world of the source's file, as `load_mesh` gives it; make one of a file with `of`.
    """

    boxes: tuple[Box, ...] = ()
    voxels: Tensor | None = None
    mesh: SourceMesh | None = None

    def __post_init__(self) -> None:
        if len(self.boxes) > MOST_BOXES:
            raise InvalidInputError(f"A region has at most {MOST_BOXES} boxes, not {len(self.boxes)}.", field="box")
        if self.mesh is not None and not is_closed(self.mesh.vertices, outward_faces(*_shape(self.mesh))):
            raise InvalidInputError("The mesh of the region is not closed, so nothing is inside of it: close it.")

    @classmethod
    def of(cls, what: "Region | Box | Sequence[Box] | Tensor | str | Path") -> "Region":
        """A region of a box or boxes, of voxels, or of a closed mesh file (with the axes of `load_mesh`)."""
        if isinstance(what, Region):
            return what
        if isinstance(what, Box):
            return cls(boxes=(what,))
        if isinstance(what, Tensor):
            return cls(voxels=what)
        if isinstance(what, (str, Path)):
            return cls(mesh=load_mesh(what))
        return cls(boxes=tuple(what))

    def mask(self, resolution: int, *, to_cube: Similarity, occupied: Tensor | None = None) -> Tensor:
        """Bool [R, R, R]: the voxels whose centre lies in the region.

        to_cube: the map of the source file's world (z up) into the model's cube. occupied [R, R, R]: the object's
        voxels; a box that ends at the object holds those that stand out there, see `_to_ends`. Raises
        InvalidInputError when there are none.
        """
        found = torch.zeros(resolution**3, dtype=torch.bool)
        centres = _centres(resolution)
        points = to_gltf_frame(to_cube.inverse().apply(centres))
        for box in self.boxes:
            low, high = (torch.tensor(corner, dtype=points.dtype) for corner in (box.low, box.high))
            if occupied is not None:
                low, high = _to_ends(low, high, points[occupied.flatten()], 0.5 / (resolution * to_cube.scale))
            found |= ((points >= low) & (points <= high)).all(1)
        if self.mesh is not None:
            vertices, faces = _shape(self.mesh)
            inside = inside_query(to_cube.apply(vertices), outward_faces(vertices, faces))
            found |= inside(centres.float().to(vertices.device)).cpu()
        mask = found.reshape(resolution, resolution, resolution)
        if self.voxels is not None:
            mask = mask | self._of_voxels(resolution)
        if not bool(mask.any()):
            raise InvalidInputError(
                "The region holds no voxel of the model's space: it is empty, lies outside, or is smaller than a voxel "
                f"(1/{resolution} of the space). Move it onto the object or make it larger.",
                field="box",
            )
        return mask

    def reaches_out(self, *, to_cube: Similarity) -> bool:
        """Whether a box or the mesh reaches beyond the model's cube by more than rounding."""
        limit = to_cube.inverse().apply(torch.tensor([[-0.5] * 3, [0.5] * 3], dtype=torch.float64) * (1 + 1e-6))
        corners = to_gltf_frame(limit)
        low, high = corners.amin(0), corners.amax(0)
        points = torch.tensor([corner for box in self.boxes for corner in (box.low, box.high)], dtype=torch.float64)
        if self.mesh is not None:
            points = torch.cat([points.reshape(-1, 3), to_gltf_frame(self.mesh.vertices.double().cpu())])
        return bool(len(points)) and bool(((points < low) | (points > high)).any())

    def _of_voxels(self, resolution: int) -> Tensor:
        assert self.voxels is not None
        voxels = self.voxels.cpu().long()
        if voxels.ndim != 2 or voxels.shape[1] != 3 or not bool(((voxels >= 0) & (voxels < resolution)).all()):
            raise InvalidInputError(f"Voxels of a region are [n, 3] numbers from 0 to {resolution - 1}.")
        mask = torch.zeros(resolution, resolution, resolution, dtype=torch.bool)
        mask[tuple(voxels.unbind(1))] = True
        return mask


def _to_ends(low: Tensor, high: Tensor, centres: Tensor, half: float) -> tuple[Tensor, Tensor]:
    """Corners [3] of a box, each side moved to the last of the object's `centres` [n, 3] where these pass it by at most
    `half` a voxel: the voxels of a surface have their centres up to so far beyond it.
    """
    first, last = centres.amin(0), centres.amax(0)
    low = torch.where(low - first <= half, torch.minimum(low, first), low)
    return low, torch.where(last - high <= half, torch.maximum(high, last), high)


def _shape(mesh: SourceMesh) -> tuple[Tensor, Tensor]:
    return mesh.vertices, mesh.faces


def _centres(resolution: int) -> Tensor:
    """Centres [R^3, 3] of the voxels in the cube, float64, x-major."""
    line = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution - 0.5
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
