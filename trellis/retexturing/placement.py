"""A mesh file in the cube of a model: turned to the picture, and the voxels that it touches."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.encoding.local_features import shell_voxels
from trellis.encoding.options import FRONT_CHOICES
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import DEFAULT_SIDE, SourceMesh, normalize_mesh
from trellis.encoding.voxelize import voxelize
from trellis.errors import InvalidInputError
from trellis.export.picture_camera import turns_to_front
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.retexturing.sheets import outward_mesh


@dataclass(frozen=True)
class PlacedMesh:
    """A mesh in the unit cube, its longest side as long as the model's objects.

    mesh: in the cube, where `to_cube` brought it; surface: its faces, turned outwards; notes: for the user.
    """

    mesh: SourceMesh
    surface: Mesh
    to_cube: Similarity
    notes: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        mesh: SourceMesh,
        picture: NDArray[np.uint8] | None,
        *,
        front: str = "auto",
        local: bool,
        progress: Progress,
    ) -> "PlacedMesh":
        """Place a mesh as a model saw its training data; `local` as in `voxels`.

        front: degrees by which the mesh is turned, or "auto": as `front_turn` finds it in the framed picture
        [S, S, 4]. Raises InvalidInputError for another front and for a mesh without extent.
        """
        if front not in FRONT_CHOICES:
            raise InvalidInputError(f"front must be one of {', '.join(FRONT_CHOICES)}, not {front!r}.", field="front")
        placed = normalize_mesh(mesh, side=DEFAULT_SIDE if local else 1.0)
        surface = outward_mesh(placed.mesh)
        turns, notes = turns_to_front(front, surface, picture, progress=progress)
        turn = Similarity(turns=turns)
        vertices = turn.apply(placed.mesh.vertices)
        x, y, z = turn.apply(torch.tensor(placed.to_cube.shift, dtype=torch.float64)).tolist()
        to_cube = Similarity(placed.to_cube.scale, (x, y, z), turn.turns)
        moved = replace(placed.mesh, vertices=vertices)
        return cls(moved, Mesh(vertices, surface.faces), to_cube, (*mesh.notes, *notes))

    def voxels(self, resolution: int, *, local: bool, progress: Progress) -> Tensor:
        """Voxels int32 [N, 4] (0, x, y, z), sorted, as the model's own encoder has them.

        local: the shell around the visible surface (models whose encoder takes local numbers, see `local_features`);
        else every voxel that a face touches.
        """
        if local:
            coords = shell_voxels(SolidField.create(self.mesh, resolution=resolution, progress=progress))
        else:
            coords = voxelize(self.mesh, resolution, progress=progress)
        return torch.nn.functional.pad(coords, (1, 0))
