"""Training on parts: boxes at any place, and known cells that tell nothing of what the box held."""

import torch
from torch import Tensor

from trellis.training.parts import known_values, random_boxes

SIDE, CELL = 4, 2


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_each_box_is_one_solid_box_and_every_cell_is_in_some() -> None:
    boxes = random_boxes(400, SIDE, generator())
    assert boxes.shape == (400, SIDE, SIDE, SIDE)
    for box in boxes[:50]:
        cells = box.nonzero()
        sides = cells.amax(0) - cells.amin(0) + 1
        assert int(sides.prod()) == len(cells) > 0
    share = boxes.float().mean(0)
    assert float(share.min()) > 0.05 and len({int(box.sum()) for box in boxes}) > 10


def encode(dense: Tensor) -> Tensor:
    """The mean of a cell and of those beside it, so that a cell tells of its neighbours."""
    return torch.nn.functional.avg_pool3d(dense, 3 * CELL, stride=CELL, padding=CELL)


def decode(latents: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(latents, scale_factor=CELL) - 0.5


def test_known_cells_do_not_tell_of_the_part() -> None:
    made = torch.zeros(1, 1, SIDE, SIDE, SIDE)
    made[..., 2:, :, :] = 1
    low = torch.rand(1, 1, SIDE, SIDE, SIDE, generator=generator())
    other = torch.where(made > 0, 1 - low, low)
    known = [known_values(one, made, decode=decode, encode=encode) for one in (low, other)]
    assert torch.equal(known[0], known[1]), "whatever the part is"
    whole = known_values(low, torch.zeros_like(made), decode=decode, encode=encode)
    beside = whole[..., 1, :, :] - known[0][..., 1, :, :]
    assert float(beside.abs().max()) > 0.05, "which the cells beside it would tell"
    assert torch.equal(whole[..., 0, :, :], known[0][..., 0, :, :])
