"""Scale and shift, and their inverse."""

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.geometry.similarity import Similarity, fit_to_cube


def test_there_and_back() -> None:
    points = torch.tensor([[1.0, 2, 3], [-4, 5, 0.5]])
    move = Similarity(0.25, (1.0, -2.0, 3.0))
    assert torch.equal(move.apply(points), points / 4 + torch.tensor([1.0, -2, 3]))
    assert torch.allclose(move.inverse().apply(move.apply(points)), points)


def test_fit_centres_the_longest_side() -> None:
    points = torch.tensor([[10.0, 0, 0], [14, 2, 1]])
    moved = fit_to_cube(points, side=2.0).apply(points)
    assert torch.allclose(moved, torch.tensor([[-1.0, -0.5, -0.25], [1, 0.5, 0.25]]))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (torch.zeros(0, 3), r"\[n, 3\]"),
        (torch.zeros(4, 2), r"\[n, 3\]"),
        (torch.ones(5, 3), "the same"),
        (torch.tensor([[0.0, 0, 0], [1, float("nan"), 0]]), "not finite"),
        (torch.tensor([[0.0, 0, 0], [1, float("inf"), 0]]), "not finite"),
    ],
)
def test_what_does_not_fit(points: torch.Tensor, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        fit_to_cube(points)
