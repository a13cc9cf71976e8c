"""Surface voxels of procedural objects and what the latent encoder sees in each of them.

Features of a voxel (`VOXEL_FEATURES`): 64 signed distances at the centres of its 4^3 sub-cells (x-major order, in voxel
units, limited to +-2), the outward normal at the centre's projection onto the surface (3), and colours minus 0.5 at its
2^3 sub-cell centres projected onto the surface (8 x rgb).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.encoding.local_features import SHELL, grid_centres
from trellis.training.procedural.objects import ObjectBatch


@dataclass(frozen=True)
class VoxelFeatureLayout:
    """Columns of a feature row."""

    distance: slice
    normal: slice
    color: slice
    size: int


VOXEL_FEATURES = VoxelFeatureLayout(slice(0, 64), slice(64, 67), slice(67, 91), 91)


def occupancy(batch: ObjectBatch, *, resolution: int = 32) -> Tensor:
    """Surface voxels [B, R, R, R] (bool): centre within 0.87 voxel of the surface.

    Seams of overlapping parts inside a solid are left out: a voxel next to the true surface has a neighbour outside.
    """
    centres = grid_centres(resolution, device=batch.device)
    result = torch.zeros(len(batch), resolution, resolution, resolution, dtype=torch.bool, device=batch.device)
    for rows, part in batch.by_family(max(1, (batch.chunk_points * 8) // resolution**3)):
        points = centres.expand(len(part), -1, -1)
        distance = part.sdf(points).reshape(-1, 1, resolution, resolution, resolution)
        outside = torch.nn.functional.max_pool3d(distance, 3, stride=1, padding=1) > 0
        near = ((distance.abs() < 1.5 * SHELL / resolution) & outside).flatten(1)
        index, valid = _padded_nonzero(near)
        corrected = part.sdf(points.gather(1, index[..., None].expand(-1, -1, 3)), corrected=True)
        hit = (corrected.abs() < SHELL / resolution) & valid
        filled = torch.zeros_like(near, dtype=torch.int8).scatter_reduce(1, index, hit.to(torch.int8), "amax")
        result[rows.to(batch.device)] = filled.bool().reshape(-1, resolution, resolution, resolution)
    return result


def _padded_nonzero(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Column indices [B, K] of true entries of `mask` [B, M], padded with index 0, and which are real."""
    counts = mask.sum(1)
    width = max(1, int(counts.max()))
    # The n-th true entry of a row goes to column n, the others to a spare column: cheaper than sorting.
    place = torch.where(mask, mask.cumsum(1) - 1, width)
    columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    index = torch.zeros(mask.shape[0], width + 1, dtype=torch.int64, device=mask.device).scatter_(1, place, columns)
    valid = torch.arange(width, device=mask.device) < counts[:, None]
    return torch.where(valid, index[:, :width], 0), valid


def occupied_coords(dense: Tensor) -> Tensor:
    """Packed int32 coords [N, 4] (batch, x, y, z) of a dense occupancy [B, R, R, R], batch-contiguous."""
    return dense.nonzero().int()


@dataclass(frozen=True)
class PaddedVoxels:
    """Voxels of each object side by side: `centres` [B, K, 3] and the packed row's place (`object`, `column`) [N]."""

    centres: Tensor
    object: Tensor
    column: Tensor

    def pack(self, values: Tensor) -> Tensor:
        """[B, K, ...] -> [N, ...] in the order of the packed coords."""
        return values[self.object, self.column]


def pad_voxels(coords: Tensor, batch_size: int, *, resolution: int) -> PaddedVoxels:
    """Spread packed coords [N, 4] to one row an object; empty places hold the cube's corner."""
    owner = coords[:, 0].long()
    counts = torch.bincount(owner, minlength=batch_size)
    starts = counts.cumsum(0) - counts
    column = torch.arange(len(coords), device=coords.device) - starts[owner]
    centres = torch.full((batch_size, max(1, int(counts.max())), 3), 0.5, device=coords.device)
    centres[owner, column] = (coords[:, 1:].float() + 0.5) / resolution - 0.5
    return PaddedVoxels(centres, owner, column)


def voxel_features(batch: ObjectBatch, coords: Tensor, *, resolution: int = 32) -> Tensor:
    """Encoder input [N, 91] of packed voxels `coords` [N, 4]; see `VOXEL_FEATURES` for the columns."""
    owner = coords[:, 0].long()
    features = torch.empty(len(coords), VOXEL_FEATURES.size, device=coords.device)
    place = torch.empty(len(batch), dtype=torch.int64, device=coords.device)
    for group in batch.groups:
        for rows in group.rows.split(max(1, batch.chunk_points // 32768)):
            place.fill_(-1)
            place[rows] = torch.arange(len(rows), device=rows.device)
            chosen = (place[owner] >= 0).nonzero().squeeze(1)
            if len(chosen) > 0:
                own = torch.cat([place[owner[chosen], None].int(), coords[chosen, 1:]], 1)
                features[chosen] = _features_of_part(batch.select(rows), own, resolution)
    return features


def _features_of_part(batch: ObjectBatch, coords: Tensor, resolution: int) -> Tensor:
    padded = pad_voxels(coords, len(batch), resolution=resolution)
    count, width = padded.centres.shape[:2]
    fine = (padded.centres[:, :, None] + grid_centres(4, device=coords.device) / resolution).reshape(count, -1, 3)
    distance = (batch.sdf(fine) * resolution).clamp(-2, 2).reshape(count, width, 64)
    normal = batch.normal(batch.project(padded.centres))
    coarse = (padded.centres[:, :, None] + grid_centres(2, device=coords.device) / resolution).reshape(count, -1, 3)
    color = batch.color(batch.project(coarse, steps=1)).reshape(count, width, 24) - 0.5
    return padded.pack(torch.cat([distance, normal, color], -1))
