"""Decoded values of kept voxels, taken from the source again, for decoders look at neighbours too."""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from trellis.representations import GaussianCloud, RadianceField
from trellis.representations.flexicubes import COLOR, SDF
from trellis.sparse import SparseTensor

T = TypeVar("T", GaussianCloud, RadianceField)


@dataclass(frozen=True)
class KeptRows:
    """Rows of an edited object's voxels `new` [k], and of the source's `old` [k], that are the same kept voxels."""

    new: Tensor
    old: Tensor

    @classmethod
    def find(cls, coords: Tensor, source: Tensor, kept: Tensor) -> "KeptRows":
        """Those of voxels `coords` [N, 3] and `source` [M, 3] where `kept` bool [R, R, R] holds."""
        table = torch.full(kept.shape, -1, dtype=torch.int64)
        table[tuple(source.cpu().long().unbind(1))] = torch.arange(len(source))
        row = torch.where(kept, table, -1)[tuple(coords.cpu().long().unbind(1))]
        new = (row >= 0).nonzero().squeeze(1)
        return cls(new.to(coords.device), row[new].to(coords.device))

    def put(self, values: Tensor, source: Tensor) -> Tensor:
        """`values` [N, ...] with the rows of `source` [M, ...] where they are kept."""
        return values.index_put((self.new.to(values.device),), source[self.old.to(source.device)].to(values))

    def representation(self, made: T, source: T, *, voxels: int, source_voxels: int) -> T:
        """Gaussians or a radiance field with the kept voxels of the source's; rows of a voxel are adjacent in both."""

        def restored(name: str) -> Tensor:
            value, old = getattr(made, name), getattr(source, name)
            rows = self.put(value.unflatten(0, (voxels, -1)), old.unflatten(0, (source_voxels, -1)))
            return rows.flatten(0, 1)

        names = [field.name for field in fields(made) if isinstance(getattr(made, field.name), Tensor)]
        changes: dict[str, Any] = {name: restored(name) for name in names}
        return replace(made, **changes)


def fine_values(made: SparseTensor, source: SparseTensor, kept: Tensor) -> SparseTensor:
    """FlexiCubes values of fine voxels, those of the source's where the voxel that they divide is in `kept` [R, R, R].

    Both are what the mesh decoder makes; all fine voxels of a kept voxel are in both.
    """
    owner = kept[_coarse(made, kept)]
    side = made.resolution
    keys, old = _keys(made.coords, side), _keys(source.coords, side)
    order = old.argsort()
    wanted = keys[owner.to(keys.device)]
    rows = order[torch.searchsorted(old[order], wanted).clamp_max(len(old) - 1)]
    assert torch.equal(old[rows], wanted), "a kept voxel is none of the source's"
    feats = made.feats.clone()
    feats[owner.to(feats.device)] = source.feats[rows.to(source.feats.device)].to(feats)
    return made.replace(feats)


def capped_gaussians(cloud: GaussianCloud, *, cap: Tensor, kept: Tensor) -> GaussianCloud:
    """The Gaussians of the voxels `cap` in the colour of the nearest of the voxels `kept`; both bool [N] of voxels."""
    count = len(cloud.positions) // len(cap)
    inner, outer = (rows.to(cloud.positions.device).repeat_interleave(count) for rows in (cap, kept))
    outer = outer & (cloud.opacities.flatten() >= cloud.opacities[outer].median())
    nearest = _nearest(cloud.positions[inner], cloud.positions[outer])
    colors = cloud.features_dc.clone()
    colors[inner] = cloud.features_dc[outer][nearest]
    return replace(cloud, features_dc=colors)


def capped_values(fine: SparseTensor, *, cap: Tensor, kept: Tensor) -> SparseTensor:
    """The fine voxels of the voxels `cap` in the colour of the nearest ones of `kept` that the surface crosses.

    cap, kept: bool [R, R, R].
    """
    if fine.feats.shape[1] < COLOR.stop:
        return fine
    place = _coarse(fine, kept)
    device = fine.feats.device
    inner, outer = cap[place].to(device), kept[place].to(device)
    crossed = (fine.feats[:, SDF] < 0).any(1) & (fine.feats[:, SDF] > 0).any(1)
    outer &= crossed
    points = fine.coords[:, 1:].float()
    nearest = _nearest(points[inner], points[outer])
    colors = fine.feats[:, COLOR].unflatten(1, (8, -1)).clone()
    colors[inner, :, :3] = colors[outer][nearest].mean(1, keepdim=True)[..., :3]
    feats = fine.feats.clone()
    feats[:, COLOR] = colors.flatten(1)
    return fine.replace(feats)


def _coarse(fine: SparseTensor, grid: Tensor) -> tuple[Tensor, ...]:
    """Index into a grid [R, R, R] of the voxels that the fine ones divide."""
    return (fine.coords[:, 1:].cpu().long() // (fine.resolution // grid.shape[0])).unbind(1)


def _keys(coords: Tensor, side: int) -> Tensor:
    x, y, z = coords[:, 1:].long().unbind(1)
    return (x * side + y) * side + z


def _nearest(points: Tensor, others: Tensor) -> Tensor:
    """Row of the nearest of `others` [m, 3] for each of `points` [n, 3]."""
    tree = cKDTree(others.cpu().numpy(), balanced_tree=False, compact_nodes=False)  # made in a quarter of the time
    _, nearest = tree.query(points.cpu().numpy(), workers=-1)
    return torch.from_numpy(nearest).long().to(points.device)
