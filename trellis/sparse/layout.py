"""Where the voxels of a batch are: coordinates, sample lengths, and tables derived from them once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.neighbours import neighbour_table
from trellis.ops.segments import Segments

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class VoxelLayout:
    """coords int32 [N, 4] (sample, x, y, z), samples contiguous; lengths: voxels of each sample; resolution: grid side.

    Derived tables (neighbours, windows, coarser grid) are computed on first use and kept: tensors that share a
    layout share them.
    """

    coords: Tensor
    lengths: tuple[int, ...]
    resolution: int
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def create(cls, coords: Tensor, *, resolution: int, batch_size: int | None = None) -> "VoxelLayout":
        """Check coordinates [N, 4] and count the voxels of each sample.

        batch_size: needed when trailing samples are empty. Raises InvalidInputError for a wrong shape, coordinates
        outside [0, resolution) or samples that are not contiguous.
        """
        if coords.ndim != 2 or coords.shape[1] != 4:
            raise InvalidInputError(f"Voxel coordinates must be [N, 4] (sample, x, y, z), got {list(coords.shape)}.")
        coords = coords.int()
        if coords.shape[0] == 0:
            return cls(coords, (0,) * (batch_size or 1), resolution)
        samples = coords[:, 0]
        low, high = coords.min(), coords[:, 1:].max()
        facts = torch.stack([low, high, samples.max(), (samples.diff() < 0).any().int()]).tolist()
        if facts[0] < 0 or facts[1] >= resolution:
            raise InvalidInputError(f"Voxel coordinates must lie in [0, {resolution}).")
        if facts[3]:
            raise InvalidInputError("The voxels of one sample must be contiguous and samples in rising order.")
        count = facts[2] + 1 if batch_size is None else batch_size
        if facts[2] >= count:
            raise InvalidInputError(f"Sample {facts[2]} does not exist in a batch of {count}.")
        lengths = torch.bincount(samples.long(), minlength=count).tolist()
        return cls(coords, tuple(lengths), resolution)

    def __len__(self) -> int:
        return self.coords.shape[0]

    @property
    def device(self) -> torch.device:
        return self.coords.device

    @property
    def segments(self) -> Segments:
        """One segment per sample."""
        return self.cached("segments", lambda: Segments(self.lengths, self.device))

    @property
    def neighbours(self) -> Tensor:
        """int32 [N, 27], see `trellis.ops.neighbours.neighbour_table`."""
        return self.cached("neighbours", lambda: neighbour_table(self.coords, self.lengths, resolution=self.resolution))

    def cached(self, key: Any, compute: Callable[[], T]) -> T:
        """The value stored under `key`, computed on first use."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def to(self, device: torch.device) -> "VoxelLayout":
        """The same layout on another device; derived tables are computed anew there."""
        coords = self.coords.to(device)
        return self if coords is self.coords else VoxelLayout(coords, self.lengths, self.resolution)


def repeated(layout: VoxelLayout, count: int) -> VoxelLayout:
    """The samples of a layout `count` times in a row; computed once per layout and count."""
    if count == 1:
        return layout

    def compute() -> VoxelLayout:
        step = torch.tensor([len(layout.lengths), 0, 0, 0], dtype=torch.int32, device=layout.device)
        coords = torch.cat([layout.coords + copy * step for copy in range(count)])
        return VoxelLayout(coords, layout.lengths * count, layout.resolution)

    return layout.cached(("repeated", count), compute)
