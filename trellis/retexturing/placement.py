"""A mesh file in the cube of a model: turned to the picture, and the voxels that it touches."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.encoding.load import load_mesh
from trellis.encoding.local_features import shell_voxels
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import DEFAULT_SIDE, SourceMesh, normalize_mesh
from trellis.encoding.voxelize import voxelize
from trellis.errors import InvalidInputError
from trellis.export.picture_camera import front_turn
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.retexturing.sheets import outward_mesh

FRONT_CHOICES = ("auto", "0", "90", "180", "270")
FBX = "Import the model as GLB or OBJ, then retexture."
FRONT_NOT_FOUND = (
    "The picture's outline fits the mesh from no side, so the mesh was taken to face the camera as it stands: state "
    "`front` if it does not."
)


def read_mesh(path: str | Path, *, up: str = "auto") -> SourceMesh:
    """As `load_mesh`; of FBX files it is said what to do with them."""
    if Path(path).suffix.lower() == ".fbx":
        raise InvalidInputError(FBX, field="mesh")
    return load_mesh(path, up=up)


@dataclass(frozen=True)
class PlacedMesh:
    """A mesh in the unit cube, its longest side as long as the model's objects.

    mesh: turned by `turns` quarters about the vertical after `to_cube`; surface: its faces, turned outwards; notes: for
    the user.
    """

    mesh: SourceMesh
    surface: Mesh
    to_cube: Similarity
    turns: int = 0
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
        turns: int | None = 0
        if front != "auto":
            turns = int(front) // 90
        elif picture is not None:
            turns = front_turn(surface, picture, progress=progress)
        vertices = turned(placed.mesh.vertices, turns or 0)
        notes = mesh.notes if turns is not None else (*mesh.notes, FRONT_NOT_FOUND)
        surface = Mesh(vertices, surface.faces)
        return cls(replace(placed.mesh, vertices=vertices), surface, placed.to_cube, turns or 0, notes)

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

    def back(self, points: Tensor) -> Tensor:
        """Points [n, 3] of the cube where the file has them, in our world."""
        return self.to_cube.inverse().apply(turned(points, -self.turns))


def turned(points: Tensor, quarters: int) -> Tensor:
    """Points [n, 3] turned about the vertical axis, exactly; counter-clockwise seen from above."""
    for _ in range(quarters % 4):
        points = torch.stack([-points[:, 1], points[:, 0], points[:, 2]], 1)
    return points
