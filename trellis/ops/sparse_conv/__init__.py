"""Convolutions on occupied voxels only: their functions, ways to compute them and an adapter."""

from trellis.ops.sparse_conv.convolution import (
    RowConvolution,
    submanifold_conv,
    submanifold_conv_of_subdivided,
    submanifold_conv_of_upsampled,
)
