"""Random numbers that a seed defines on every device: a counter-based integer hash, no generator state.

One object's numbers depend on its own seed alone, so any subset of a batch, in any order, gives the same objects.
"""

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_A = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_B = -7723592293110705685  # 0x94D049BB133111EB


def _mix(x: Tensor) -> Tensor:
    """The splitmix64 finaliser on int64 (shifts made logical by masks)."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MIX_A
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MIX_B
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def hash_integers(seeds: Tensor, salt: int) -> Tensor:
    """Well mixed int64 values of the shape of `seeds` (int64)."""
    return _mix(_mix(seeds * _GOLDEN + salt) + salt * _GOLDEN % (1 << 62))


class Draws:
    """A stream of random vectors [B], one entry an object; successive calls give independent values."""

    def __init__(self, seeds: Tensor, salt: int = 0) -> None:
        self._state = hash_integers(seeds.to(torch.int64).cpu(), salt)
        self._counter = 0

    def __len__(self) -> int:
        return self._state.shape[0]

    def unit(self) -> Tensor:
        """Uniform float32 [B] in [0, 1)."""
        self._counter += 1
        bits = _mix(self._state + self._counter * _GOLDEN % (1 << 62))
        return ((bits >> 40) & ((1 << 24) - 1)).float() * 2.0**-24

    def uniform(self, low: float | Tensor, high: float | Tensor) -> Tensor:
        """Uniform float32 [B] in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> Tensor:
        """Whole numbers low..high inclusive, as float32 [B]."""
        return (low + (high - low + 1) * self.unit()).floor()

    def chance(self, probability: float) -> Tensor:
        """True with `probability`: bool [B]."""
        return self.unit() < probability

    def choose(self, values: Tensor) -> Tensor:
        """Rows of `values` [K, ...] picked evenly: [B, ...]."""
        return values[(self.unit() * values.shape[0]).long()]
