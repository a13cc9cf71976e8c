"""Codes that order voxels along a space-filling curve."""

from torch import Tensor

BITS = 10
CURVES = ("z_order", "z_order_transposed", "hilbert", "hilbert_transposed")


def _interleave(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Bit 3b+2 is bit b of x, bit 3b+1 bit b of y, bit 3b bit b of z."""
    code = x.new_zeros(x.shape)
    for bit in range(BITS):
        for axis, shift in ((x, 2), (y, 1), (z, 0)):
            code |= ((axis >> bit) & 1) << (3 * bit + shift)
    return code


def z_order_code(coords: Tensor) -> Tensor:
    """Morton code, int64 [n], of integer coordinates [n, 3] (x, y, z), each in [0, 1024)."""
    x, y, z = coords.long().unbind(-1)
    return _interleave(x, y, z)


def hilbert_code(coords: Tensor) -> Tensor:
    """Hilbert index, int64 [n], of integer coordinates [n, 3] (x, y, z), each in [0, 1024).

    Source: J. Skilling, "Programming the Hilbert curve" (2004), AxestoTranspose.
    """
    axes = list(coords.long().unbind(-1))
    bit = 1 << (BITS - 1)
    while bit > 1:
        mask = bit - 1
        for index in range(3):
            is_set = (axes[index] & bit) != 0
            exchanged = ((axes[0] ^ axes[index]) & mask).masked_fill(is_set, 0)
            axes[0] = axes[0] ^ exchanged ^ is_set.long() * mask
            if index:
                axes[index] = axes[index] ^ exchanged
        bit >>= 1
    axes[1] = axes[1] ^ axes[0]
    axes[2] = axes[2] ^ axes[1]
    flips = axes[2].new_zeros(axes[2].shape)
    bit = 1 << (BITS - 1)
    while bit > 1:
        flips ^= ((axes[2] & bit) != 0).long() * (bit - 1)
        bit >>= 1
    return _interleave(*(axis ^ flips for axis in axes))


def curve_code(coords: Tensor, curve: str) -> Tensor:
    """Code, int64 [n], of coordinates [n, 3] along `curve`, one of CURVES ("transposed": x and y swapped)."""
    if curve not in CURVES:
        raise ValueError(f"Unknown curve {curve!r}; choose one of {', '.join(CURVES)}.")
    if curve.endswith("_transposed"):
        coords = coords[:, [1, 0, 2]]
    return hilbert_code(coords) if curve.startswith("hilbert") else z_order_code(coords)
