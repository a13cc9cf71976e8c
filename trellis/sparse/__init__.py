"""Sparse voxel tensors and their operators without parameters."""

from trellis.sparse.layout import VoxelLayout, repeated
from trellis.sparse.pooling import coarser, downsample, subdivide, subdivided, upsample, upsampled_neighbours
from trellis.sparse.tensor import SparseTensor
from trellis.sparse.windows import ATTENTION_MODES, TokenWindows, attention_windows
