"""Space-filling curves."""

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.ops.serialize import CURVES, serialize


def grid(side):
    axis = torch.arange(side)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize("curve", CURVES)
def test_every_voxel_has_its_own_code_and_a_cube_fills_a_range(curve):
    codes = serialize(grid(8), curve)
    assert codes.sort().values.tolist() == list(range(512))


@pytest.mark.parametrize("curve", ["hilbert", "hilbert_transposed"])
def test_hilbert_moves_one_voxel_at_a_time(curve):
    coords = grid(16)
    walk = coords[serialize(coords, curve).argsort()]
    assert (walk.diff(dim=0).abs().sum(1) == 1).all()


def test_z_order_interleaves_the_bits():
    assert serialize(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1023, 1023, 1023]]), "z_order").tolist() == [
        4,
        2,
        1,
        2**30 - 1,
    ]


def test_unknown_curve_is_refused():
    with pytest.raises(InvalidInputError, match="hilbert"):
        serialize(grid(2), "peano")
