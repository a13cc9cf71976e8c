"""Voxels of an edited object: the source's outside, nothing loose, and what was inside stays inside."""

import torch
from torch import Tensor

from trellis.editing.voxels import edited_cells, edited_occupancy, enclosed, held_inside

SIDE = 32


def shell(low: int, high: int, *, gap: bool = False) -> Tensor:
    """The walls, a voxel thick, of a cube from `low` to `high`."""
    grid = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    grid[low:high, low:high, low:high] = True
    grid[low + 1 : high - 1, low + 1 : high - 1, low + 1 : high - 1] = False
    if gap:
        grid[low, 10, 10] = False
    return grid


def upper(z: int) -> Tensor:
    mask = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    mask[:, :, z:] = True
    return mask


def test_cells_are_edited_that_hold_a_voxel_of_the_region() -> None:
    mask = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    mask[3, 4, 31] = mask[4, 4, 31] = True
    assert edited_cells(mask, 8).nonzero().tolist() == [[0, 1, 7], [1, 1, 7]]


def test_enclosed_voxels_are_those_without_a_way_out() -> None:
    assert int(enclosed(shell(5, 15)).sum()) == 8**3
    assert int(enclosed(shell(5, 15, gap=True)).sum()) == 0
    assert int(enclosed(shell(0, SIDE)).sum()) == 30**3, "walls at the rim enclose too"


def test_what_is_inside_does_not_leak_through_a_gap() -> None:
    assert int(held_inside(shell(5, 15)).sum()) == 8**3
    assert int(held_inside(shell(5, 15, gap=True)).sum()) == 8**3
    cup = shell(5, 15) & ~upper(14)
    assert int(held_inside(cup).sum()) == 0, "a cup's opening is no gap"


def test_outside_of_the_region_the_source_stays_whatever_is_made() -> None:
    source, mask = shell(5, 15), upper(12)
    new = torch.rand(SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) > 0.5
    after = edited_occupancy(source, new, mask, remove=False, drop_loose=False)
    assert torch.equal(after[~mask], source[~mask])
    assert bool((after & mask)[new & mask].all())


def test_removing_closes_the_cut_and_leaves_what_was_enclosed_enclosed() -> None:
    for gap in (False, True):
        source, mask = shell(5, 15, gap=gap), upper(11)
        after = edited_occupancy(source, torch.zeros_like(source), mask, remove=True, drop_loose=True)
        inside = held_inside(source) & ~mask
        assert int(inside.sum()) == 8 * 8 * 5
        assert not bool((inside & ~held_inside(after)).any())
        if not gap:
            assert not bool((enclosed(source) & ~mask & ~enclosed(after)).any())
        assert torch.equal(after[~mask], source[~mask])
        cut = (after & mask).nonzero()
        assert set(cut[:, 2].tolist()) == {11}, "one layer, at the border of the region"
        assert len(cut) == 100


def test_an_edit_that_would_open_the_inside_is_closed_and_one_that_closes_it_itself_is_left_alone() -> None:
    source, mask = shell(5, 15), upper(11)
    opened = edited_occupancy(source, torch.zeros_like(source), mask, remove=False, drop_loose=True)
    assert not bool((enclosed(source) & ~mask & ~enclosed(opened)).any())
    lid = shell(5, 13) | source & ~mask  # a lower lid
    lid[5:15, 5:15, 12] = True
    lid[5:15, [5, 14], 11] = lid[[5, 14], 5:15, 11] = True
    closed = edited_occupancy(source, lid, mask, remove=False, drop_loose=True)
    assert torch.equal(closed & mask, lid & mask)


def test_what_hangs_on_nothing_goes_unless_the_source_had_it() -> None:
    source, mask = shell(5, 15), upper(12)
    new = source.clone()
    new[25:27, 25:27, 25:27] = True
    kept = edited_occupancy(source, new, mask, remove=False, drop_loose=False)
    dropped = edited_occupancy(source, new, mask, remove=False, drop_loose=True)
    assert int(kept.sum()) - int(dropped.sum()) == 8
    assert torch.equal(dropped, source)
    source[26, 26, 26] = True
    assert torch.equal(edited_occupancy(source, new, mask, remove=False, drop_loose=True), kept)


def test_a_part_that_a_gap_of_two_voxels_parts_from_the_rest_stays() -> None:
    source, mask = shell(5, 15), upper(15)
    for gap, stays in ((2, True), (3, False)):
        new = torch.zeros_like(source)
        new[6:10, 6:10, 15 + gap : 19] = True
        after = edited_occupancy(source, new, mask, remove=False, drop_loose=True)
        assert bool((after & new).any()) is stays


def test_a_lid_has_nothing_of_it_inside_of_a_hollow_new_part() -> None:
    """A narrower hollow part on an opened box: only what lies around it is closed."""
    source, mask = shell(5, 15), upper(12)
    new = torch.zeros_like(source)
    new[8:12, 8:12, 12:18] = True
    new[9:11, 9:11, 12:17] = False
    after = edited_occupancy(source, new, mask, remove=False, drop_loose=True)
    assert not bool((enclosed(source) & ~mask & ~enclosed(after)).any())
    assert bool(after[6, 6, 12]) and not bool(after[9:11, 9:11, 12:17].any())
