"""Hammersley points and the offset perturbation."""

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.geometry.hammersley import hammersley_3d, offset_perturbation, radical_inverse


def test_radical_inverse_mirrors_digits() -> None:
    assert [radical_inverse(2, i) for i in range(5)] == [0.0, 0.5, 0.25, 0.75, 0.125]
    assert radical_inverse(3, 5) == pytest.approx(2 / 3 + 1 / 9)


def test_points_fill_the_cube_evenly() -> None:
    points = hammersley_3d(512)
    assert points.min() >= 0
    assert points.max() < 1
    octants = (points * 2).long() @ torch.tensor([4, 2, 1])
    assert (torch.bincount(octants, minlength=8) - 64).abs().max() <= 4


def test_perturbation_is_undone_by_tanh() -> None:
    points = torch.tanh(offset_perturbation(32, 1.5)) * 1.5
    assert torch.allclose(points, hammersley_3d(32) * 2 - 1, atol=1e-6)


def test_infinite_perturbation_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="voxel_size"):
        offset_perturbation(8, 1.0)
