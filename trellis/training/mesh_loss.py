"""Direct supervision of the mesh decoder: exact signed distances, colours and normals at the corners of fine voxels."""

from functools import cache

import torch
from torch import Tensor

from trellis.training.losses import surface_weight, weighted_mean
from trellis.training.targets import LATTICE, decode_unit

SDF_LIMIT = 1.0  # coarse voxels; a farther corner only needs the right sign
_REACH = 0.3  # coarse voxels: a little over one fine voxel
_CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
_OFFSETS = tuple((i >> 2 & 1, i >> 1 & 1, i & 1) for i in range(8))  # order of a subdivided voxel's children
_ATTRIBUTES = 6


@cache
def _corner_table() -> tuple[tuple[int, ...], ...]:
    rows = []
    for first in _OFFSETS:
        for second in _OFFSETS:
            fine = [2 * a + b for a, b in zip(first, second)]
            places = [[f + c for f, c in zip(fine, corner)] for corner in _CORNERS]
            rows.append(tuple((x * LATTICE + y) * LATTICE + z for x, y, z in places))
    return tuple(rows)


def corner_index(device: torch.device) -> Tensor:
    """Lattice index [64, 8] of every corner of the fine voxels of a coarse voxel, in the decoder's order."""
    return torch.tensor(_corner_table(), device=device)


def target_sdf(distance: Tensor, resolution: int) -> Tensor:
    """What the decoder's raw sdf should be for `distance` in coarse voxels.

    Extraction subtracts 1 / (4 resolution); corners outside the shell hold +1, so the unit is a coarse voxel.
    """
    return distance.clamp(-SDF_LIMIT, SDF_LIMIT) + 1 / (4 * resolution)


def mesh_losses(
    feats: Tensor, distance: Tensor, *, color: Tensor, normal: Tensor, resolution: int
) -> dict[str, Tensor]:
    """Losses of decoder output `feats` [64 n, 101] for n coarse voxels.

    distance [n, 125] in coarse voxels; color, normal uint8 [n, 125, 3] on the voxel's lattice of corners.
    """
    count = distance.shape[0]
    index = corner_index(feats.device)
    raw = feats.float().reshape(count, 64, -1)
    sdf, rest, attributes = raw[..., :8], raw[..., 8:53], raw[..., 53:].unflatten(-1, (8, _ATTRIBUTES))
    exact = distance.float()[:, index.flatten()].reshape(count, 64, 8)
    near = surface_weight(exact, _REACH)
    parts = {
        "mesh_sdf": weighted_mean((sdf - target_sdf(exact, resolution)).abs(), near),
        "mesh_consistency": corner_spread(sdf, index),
        "mesh_rest": rest.square().mean(),
    }
    band = torch.exp(-(exact / _REACH).square())[..., None]
    values = torch.sigmoid(attributes)
    for name, start, target in (("mesh_color", 0, color), ("mesh_normal", 3, normal)):
        wanted = decode_unit(target[:, index.flatten()]).reshape(count, 64, 8, 3)
        parts[name] = weighted_mean((values[..., start : start + 3] - wanted).abs(), band)
    return parts


def corner_spread(sdf: Tensor, index: Tensor) -> Tensor:
    """Mean squared distance of the values [n, 64, 8] that share a corner of one coarse voxel from their mean."""
    flat = sdf.flatten(1)
    place = index.flatten().expand_as(flat)
    total = flat.new_zeros(flat.shape[0], LATTICE**3).scatter_add(1, place, flat)
    shared = torch.bincount(index.flatten(), minlength=LATTICE**3)
    mean = total / shared
    return (flat - mean.gather(1, place)).square().mean()
