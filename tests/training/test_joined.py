"""Truth of edits: one object outside of a box, another inside, in shape and colour; and the table of figures."""

import torch

from tests.unit.export.shapes import sphere
from trellis.training.evaluate_edits import Row, surface_moved, table
from trellis.training.procedural import occupancy, sample_objects
from trellis.training.procedural.joined import JoinedBatch
from trellis.training.procedural.objects import HELD_OUT_SEEDS

FIRST = HELD_OUT_SEEDS.start
BOX = torch.tensor([[[-0.5, -0.5, 0.0], [0.5, 0.5, 0.5]]])


def test_each_side_of_the_box_is_its_own_object() -> None:
    outer, inner = (sample_objects([FIRST + seed], ["snowman"]) for seed in (0, 1))
    joined = JoinedBatch.create(outer, inner, BOX)
    dense, one, other = (occupancy(batch)[0] for batch in (joined, outer, inner))
    border = 16
    assert torch.equal(dense[..., : border - 2], one[..., : border - 2])
    assert torch.equal(dense[..., border + 2 :], other[..., border + 2 :])
    assert not torch.equal(one, other)
    points = dense.nonzero()[None] / 32 - 0.5
    upper = points[..., 2] > 0.05
    assert torch.equal(joined.color(points)[upper], inner.color(points)[upper])
    assert torch.equal(
        joined.color(points)[~upper & (points[..., 2] < 0)], outer.color(points)[~upper & (points[..., 2] < 0)]
    )
    again = joined.select([0])
    assert torch.equal(again.sdf(points), joined.sdf(points))


def test_a_surface_that_does_not_move_and_one_that_does() -> None:
    ball, grown = sphere(3), sphere(3, radius=0.4 + 1 / 32)
    nothing = torch.zeros(32, 32, 32, dtype=torch.bool)
    assert surface_moved(ball, ball, nothing) < 1e-4
    assert 0.9 < surface_moved(ball, grown, nothing) < 1.1, "in voxels"


def test_the_table_says_what_is_met() -> None:
    rows = [Row("a", 0.7, 0.6), Row("b", 0.5, 0.6), Row("c", 0.0, 0, least=False), Row("d", 0.3, 0.25, least=False)]
    assert [row.met for row in rows] == [True, False, True, False]
    assert "| a | 0.7 | 0.6 | yes |" in table(rows) and "| d | 0.3 | at most 0.25 | no |" in table(rows)
