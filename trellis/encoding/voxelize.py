"""Every voxel that a surface touches, exactly: the separating axis test of triangles and boxes."""

import torch
from torch import Tensor

from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.runtime import has_float64
from trellis.stages import Stage

MAX_RESOLUTION = 2048
PAIRS = 1 << 19  # triangle-voxel pairs tested at a time: about 400 MiB at the peak


def voxelize(mesh: SourceMesh | Mesh, resolution: int, *, progress: Progress | None = None) -> Tensor:
    """The voxels int32 [N, 3] (x, y, z), sorted, of a grid over [-0.5, 0.5]^3 that the faces of `mesh` touch.

    Everything runs on the mesh's device, PAIRS of a face and a voxel at a time. A voxel is a closed box: a face that
    lies between two voxels touches both. Computed in float64: exact unless a face misses or meets a box by less than
    rounding. Parts outside of the cube touch nothing. The order of faces does not matter.
    Source: Akenine-Moller, "Fast 3D triangle-box overlap testing" (2001). Raises InvalidInputError for wrong shapes or
    a resolution outside 1..2048.
    """
    _check(mesh.vertices, mesh.faces, resolution)
    progress, source = progress or Progress(), mesh.vertices.device
    device = source if has_float64(source) else torch.device("cpu")
    corners = (mesh.vertices.to(device).double()[mesh.faces.to(device).long()] + 0.5) * resolution
    low, high = _candidate_range(corners, resolution)
    size = (high - low + 1).clamp_min(0)
    count = size.prod(1)
    keys = torch.zeros(0, dtype=torch.int64, device=device)
    # Runs of candidates are numbered through; a piece takes the faces of one range of numbers.
    ends = count.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    for piece in progress.steps(Stage.VOXELIZE, -(-total // PAIRS)):
        number = torch.arange(piece * PAIRS, min((piece + 1) * PAIRS, total), device=device)
        face = torch.searchsorted(ends, number, right=True)
        voxel = _unravel(number - (ends[face] - count[face]), size[face]) + low[face]
        touched = voxel[overlaps(corners[face], voxel)]
        found = (touched[:, 0] * resolution + touched[:, 1]) * resolution + touched[:, 2]
        keys = torch.unique(torch.cat([keys, found]))
    x, rest = keys // resolution**2, keys % resolution**2
    return torch.stack([x, rest // resolution, rest % resolution], 1).int().to(source)


def overlaps(corners: Tensor, voxels: Tensor) -> Tensor:
    """Bool [n]: triangle [n, 3, 3] and unit box [voxel, voxel + 1] have a point in common (float64, in voxels).

    Both are convex: they are apart exactly if one of 13 axes separates them (3 of the box, the triangle's normal, 9
    products of edges).
    """
    points = corners - (voxels.to(corners.dtype) + 0.5)[:, None]
    edges = points.roll(-1, 1) - points
    together = ((points.amin(1) <= 0.5) & (points.amax(1) >= -0.5)).all(1)
    normal = torch.linalg.cross(edges[:, 0], edges[:, 1])
    together &= (normal * points[:, 0]).sum(1).abs() <= 0.5 * normal.abs().sum(1)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        # The axis is (unit vector) x (edge): its parts are -edge[v] along u and edge[u] along v.
        along = points[:, None, :, v] * edges[:, :, None, u] - points[:, None, :, u] * edges[:, :, None, v]
        reach = 0.5 * (edges[:, :, u].abs() + edges[:, :, v].abs())
        together &= ((along.amin(2) <= reach) & (along.amax(2) >= -reach)).all(1)
    return together


def _candidate_range(corners: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """First and last voxel [F, 3] of the box around each face, clipped to the grid."""
    # A face at a boundary touches the voxel before it as well.
    low = (corners.amin(1).ceil() - 1).clamp_min(0)
    high = corners.amax(1).floor().clamp_max(resolution - 1)
    # Far outside: an empty range, within the numbers that int64 holds.
    low, high = low.clamp_max(resolution), high.clamp_min(-1)
    return low.long(), high.long()


def _unravel(index: Tensor, size: Tensor) -> Tensor:
    """Position [n, 3] of entry `index` [n] in a box of `size` [n, 3], x-major."""
    x, rest = index // (size[:, 1] * size[:, 2]), index % (size[:, 1] * size[:, 2])
    return torch.stack([x, rest // size[:, 2], rest % size[:, 2]], 1)


def _check(vertices: Tensor, faces: Tensor, resolution: int) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InvalidInputError(
            f"A mesh needs vertices [V, 3] and faces [F, 3], not {list(vertices.shape)} and {list(faces.shape)}."
        )
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise InvalidInputError(f"The resolution must be 1 to {MAX_RESOLUTION}, not {resolution}.")
    if not torch.isfinite(vertices).all():
        raise InvalidInputError("A vertex is not a finite number.")
