"""Sparse voxel tensors and their operators without parameters."""

from trellis.sparse.layout import VoxelLayout
from trellis.sparse.pooling import downsample, subdivide, subdivided, upsample
from trellis.sparse.tensor import SparseTensor
from trellis.sparse.windows import ATTENTION_MODES, TokenWindows, attention_windows

__all__ = [
    "ATTENTION_MODES",
    "SparseTensor",
    "TokenWindows",
    "VoxelLayout",
    "attention_windows",
    "downsample",
    "subdivide",
    "subdivided",
    "upsample",
]
