"""Features on occupied voxels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.sparse.layout import VoxelLayout


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """feats [N, ...] of the N voxels of `layout`, over the whole batch."""

    feats: Tensor
    layout: VoxelLayout

    def __post_init__(self) -> None:
        if self.feats.shape[0] != len(self.layout):
            raise InvalidInputError(f"{self.feats.shape[0]} rows of features for {len(self.layout)} voxels.")

    @classmethod
    def create(cls, feats: Tensor, coords: Tensor, *, resolution: int, batch_size: int | None = None) -> "SparseTensor":
        """Features [N, ...] at coordinates [N, 4] (sample, x, y, z); see `VoxelLayout.create` for the checks."""
        return cls(feats, VoxelLayout.create(coords, resolution=resolution, batch_size=batch_size))

    @property
    def coords(self) -> Tensor:
        """int32 [N, 4] (sample, x, y, z)."""
        return self.layout.coords

    @property
    def lengths(self) -> tuple[int, ...]:
        """Voxels of each sample."""
        return self.layout.lengths

    @property
    def batch_size(self) -> int:
        return len(self.layout.lengths)

    @property
    def resolution(self) -> int:
        """Side of the grid."""
        return self.layout.resolution

    def __len__(self) -> int:
        return self.feats.shape[0]

    def replace(self, feats: Tensor) -> "SparseTensor":
        """Other features on the same layout."""
        return SparseTensor(feats, self.layout)

    def samples(self) -> list[tuple[Tensor, Tensor]]:
        """(coords [n, 3], feats [n, ...]) of each sample: views."""
        coords = self.coords[:, 1:].split(self.lengths)
        return list(zip(coords, self.feats.split(self.lengths)))

    def to(self, device: torch.device) -> "SparseTensor":
        """The same tensor on another device."""
        return SparseTensor(self.feats.to(device), self.layout.to(device))
