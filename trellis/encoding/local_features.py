"""Input of the embedded model's encoders, computed from any mesh: occupied voxels and 91 numbers in each.

The layout is that of the training data (docs/nano.md): 64 signed distances at the centres of a voxel's 4^3 sub-cells
(x-major, in voxels, limited to +-2), the outward normal at the surface point nearest to the centre (3), and sRGB
colours minus 0.5 at the surface points nearest to the 2^3 sub-cell centres (8 x rgb).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.encoding.solid import FINE, SolidField
from trellis.encoding.voxelize import voxelize
from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.stages import Stage

FEATURES = 91
SHELL = 0.87  # half thickness of the occupied shell in voxels: half a voxel's diagonal
_VOXELS = 4096  # in one piece


@dataclass(frozen=True)
class VoxelFeatures:
    """coords int32 [N, 3] sorted, features [N, k] float32 of occupied voxels on a grid of `resolution`."""

    coords: Tensor
    features: Tensor
    resolution: int


def local_features(field: SolidField, *, progress: Progress | None = None) -> VoxelFeatures:
    """Voxels of the shell around the surface of `field`, and the 91 numbers of each, on the field's device.

    Raises InvalidInputError when the mesh has no visible surface in the cube.
    """
    progress = progress or Progress()
    coords = shell_voxels(field)
    if not len(coords):
        raise InvalidInputError("The mesh has no surface inside the unit cube: normalise it first.")
    pieces = coords.split(_VOXELS)
    rows = [_features(field, pieces[i]) for i in progress.steps(Stage.FEATURES, len(pieces))]
    return VoxelFeatures(coords, torch.cat(rows), field.resolution)


def shell_voxels(field: SolidField) -> Tensor:
    """Voxels int32 [N, 3], sorted, whose centre is within 0.87 voxel of the surface and which border on the outside.

    Border: the voxel or one of its 26 neighbours has its centre outside, as in the training data.
    """
    device, resolution = field.mesh.device, field.resolution
    touched = torch.zeros(1, resolution, resolution, resolution, device=device)
    cells = voxelize(field.mesh, resolution).long()
    touched[0, cells[:, 0], cells[:, 1], cells[:, 2]] = 1
    # A plate adds a fifth of a voxel; neighbours of candidates are needed to see the border.
    candidates = _grown(_grown(touched))[0].nonzero()
    distance = torch.full_like(touched, float("inf"))
    found = field.sample(_centres(candidates, resolution)).distance
    distance[0, candidates[:, 0], candidates[:, 1], candidates[:, 2]] = found
    known = torch.where(distance.isfinite(), distance, -1.0)
    border = torch.nn.functional.max_pool3d(known[None], 3, stride=1, padding=1)[0] > 0
    return ((distance.abs() < SHELL / resolution) & border)[0].nonzero().int()


def _grown(mask: Tensor) -> Tensor:
    return torch.nn.functional.max_pool3d(mask[None], 3, stride=1, padding=1)[0]


def _centres(coords: Tensor, resolution: int) -> Tensor:
    return (coords.float() + 0.5) / resolution - 0.5


def grid_centres(count: int, *, device: torch.device) -> Tensor:
    """Centres [count^3, 3] of the cells of the unit cube, as of a voxel in its own units, x-major."""
    line = (torch.arange(count, device=device) + 0.5) / count - 0.5
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)


def _features(field: SolidField, coords: Tensor) -> Tensor:
    """Rows [n, 91] of some voxels."""
    resolution = field.resolution
    centres, count = _centres(coords, resolution), len(coords)

    def around(cells: int) -> Tensor:
        offsets = grid_centres(cells, device=centres.device) / resolution
        return (centres[:, None] + offsets).reshape(-1, 3)

    fine = around(FINE)  # the centres of the field's own cells
    distance = field.sample(fine, inside=field.inside_centres(fine)).distance * resolution
    normal = field.sample(centres).normal
    color = field.colors(field.nearest_surface(around(2))).reshape(count, 24) - 0.5
    return torch.cat([distance.clamp(-2, 2).reshape(count, 64), normal, color], 1)
