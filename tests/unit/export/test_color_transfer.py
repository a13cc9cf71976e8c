"""A change of colour that a part of the surface shows is carried over to what is like it, and to nothing else."""

import torch

from trellis.export.color_transfer import transferred

ORANGE, GREEN, BLUE = torch.tensor([0.8, 0.45, 0.1]), torch.tensor([0.75, 0.85, 0.1]), torch.tensor([0.1, 0.2, 0.8])


def surface(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points on a ball, the number of each, and which half (y < 0) is seen."""
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1) * 0.4
    return points, torch.arange(count), (points[:, 1] < 0).nonzero().squeeze(1)


def test_a_wrong_hue_is_corrected_on_the_side_that_is_not_seen() -> None:
    points, numbers, seen = surface()
    noise = 0.02 * torch.randn(len(points), 3, generator=torch.Generator().manual_seed(1))
    top = points[:, 2:] > 0
    colors, truth = torch.where(top, ORANGE, BLUE) + noise, torch.where(top, GREEN, BLUE) + noise
    result = transferred(colors, points, seen=seen, target=truth[seen], weight=torch.ones(len(seen)))
    unseen = numbers[points[:, 1] > 0]
    assert (colors[unseen] - truth[unseen]).abs().amax() > 0.35
    assert (result[unseen] - truth[unseen]).abs().amax() < 0.05


def test_colours_that_are_seen_nowhere_stay() -> None:
    points, numbers, seen = surface()
    hidden = points[:, 1] > 0
    colors = torch.where(hidden[:, None], BLUE, ORANGE)
    target = GREEN.expand(len(seen), 3)
    result = transferred(colors, points, seen=seen, target=target, weight=torch.ones(len(seen)))
    assert (result[numbers[hidden]] - BLUE).abs().amax() < 1e-3


def test_right_colours_and_a_picture_without_weight_change_nothing() -> None:
    points, _, seen = surface()
    colors = torch.rand(len(points), 3, generator=torch.Generator().manual_seed(2))
    same = transferred(colors, points, seen=seen, target=colors[seen], weight=torch.ones(len(seen)))
    torch.testing.assert_close(same, colors, atol=1e-6, rtol=0)
    none = transferred(colors, points, seen=seen, target=1 - colors[seen], weight=torch.zeros(len(seen)))
    assert torch.equal(none, colors)


def test_the_order_of_what_is_seen_changes_no_bit() -> None:
    """A GPU adds in another order every time."""
    points, _, seen = surface(40_000)
    generator = torch.Generator().manual_seed(3)
    colors = torch.rand(len(points), 3, generator=generator)
    target, weight = torch.rand(len(seen), 3, generator=generator), torch.rand(len(seen), generator=generator)
    result = transferred(colors, points, seen=seen, target=target, weight=weight)
    order = torch.randperm(len(seen), generator=generator)
    again = transferred(colors, points, seen=seen[order], target=target[order], weight=weight[order])
    assert torch.equal(again, result) and not torch.equal(result, colors)
