"""The generic programs: sound solids of many kinds, letters that are whole, and pictures as people take them."""

import pytest
import torch

from trellis.training.procedural import FAMILIES, HELD_OUT_SEEDS, occupancy, render_pictures, sample_objects
from trellis.training.procedural.generic import GENERIC, KINDS, letters

SEEDS = range(HELD_OUT_SEEDS.start + 10, HELD_OUT_SEEDS.start + 12)


@pytest.mark.parametrize("program", sorted(GENERIC))
def test_a_program_fills_the_cube_with_different_shells(program: str) -> None:
    """At 16^3: the longest side spans the cube, and nothing reaches out of it."""
    batch = sample_objects(SEEDS, [program])
    dense = occupancy(batch, resolution=16)
    counts = dense.flatten(1).sum(1).tolist()
    assert min(counts) > 30 and max(counts) < 16**3 * 0.75 and len(set(counts)) > 1
    for voxels in dense:
        cells = voxels.nonzero()
        assert int((cells.amax(0) - cells.amin(0)).max()) >= 12
    border = torch.tensor([[-0.5, 0.1, 0.1], [0.5, 0.1, 0.1], [0.1, -0.5, 0.1], [0.1, 0.1, -0.5], [0.1, 0.1, 0.5]])
    assert bool((batch.sdf(border.expand(len(batch), -1, -1)) > 0).all())


def test_every_program_is_of_one_kind_and_no_family() -> None:
    named = [name for programs in KINDS.values() for name in programs]
    assert sorted(named) == sorted(GENERIC) and len(named) == len(set(named))
    assert not set(GENERIC) & set(FAMILIES)


def test_glyphs_are_whole() -> None:
    """Every stroke of every sign is in the table, within its grid, and has a length."""
    table = letters._table()
    for strokes, text in zip(table, letters._GLYPHS.values(), strict=True):
        there = strokes[strokes[:, 4] > 0]
        assert len(there) == len(text.split())
        assert float((there[:, :2] - there[:, 2:4]).norm(dim=1).min()) > 0.1 and float(there[:, :4].abs().max()) <= 0.5


def test_photographs_do_not_depend_on_the_batch_and_differ_from_plain_pictures() -> None:
    batch = sample_objects(range(4), ["bottle"])
    dense = occupancy(batch, resolution=16)
    plain, some, every = (
        render_pictures(batch, size=16, dense=dense, photographs=share).images for share in (0.0, 0.5, 1.0)
    )
    same = [torch.equal(a, b) for a, b in zip(plain, some)]
    assert 0 < sum(same) < len(batch), "half of them are photographs"
    assert all(torch.equal(a, b) for a, b, equal in zip(some, every, same) if not equal)
    assert not any(torch.equal(a, b) for a, b in zip(plain, every))
    alone = render_pictures(batch.select([2]), size=16, dense=dense[2:3], photographs=1.0).images
    assert torch.equal(alone[0], every[2])
