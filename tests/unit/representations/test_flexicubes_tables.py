"""Properties of the derived case tables."""

import torch

from trellis.representations.flexicubes_tables import EDGES, case_loops, case_tables, edge_index, face_corners

TABLES = case_tables(torch.device("cpu"))


def test_edges_are_the_twelve_of_a_cube() -> None:
    assert len({frozenset(pair) for pair in EDGES}) == 12
    assert all((a ^ b).bit_count() == 1 for a, b in EDGES)
    assert sorted(edge_index(axis, low) for axis in range(3) for low in range(8) if not low >> axis & 1) == [*range(12)]


def test_loops_partition_the_cut_edges_of_every_case() -> None:
    for case in range(256):
        loops, _ = case_loops(case)
        cut = [i for i, (a, b) in enumerate(EDGES) if (case >> a ^ case >> b) & 1]
        assert sorted(edge for loop in loops for edge in loop) == cut
        assert all(3 <= len(loop) <= 7 for loop in loops)
        assert TABLES.loop_count[case] == len(loops) <= 4
        for index, loop in enumerate(loops):
            assert TABLES.edges_of_loop[case, index, : len(loop)].tolist() == loop
            assert TABLES.loop_length[case, index] == len(loop)
            assert (TABLES.loop_of_edge[case, loop] == index).all()
        assert (TABLES.loop_of_edge[case] >= 0).sum() == len(cut)


def test_loops_are_closed_on_the_surface_of_the_cube() -> None:
    """On every face a loop has an even number of edges: it enters and leaves."""
    for case in range(256):
        for loop in case_loops(case)[0]:
            for face in range(6):
                corners = set(face_corners(face))
                assert sum(set(EDGES[edge]) <= corners for edge in loop) % 2 == 0


def test_thirty_six_cases_are_flagged_with_an_ambiguous_face() -> None:
    flagged = [case for case in range(256) if TABLES.flagged_face[case] >= 0]
    assert len(flagged) == 36
    for case in flagged:
        inside = [corner for corner in face_corners(int(TABLES.flagged_face[case])) if case >> corner & 1]
        assert len(inside) == 2
        assert (inside[0] ^ inside[1]).bit_count() == 2  # diagonal
        assert TABLES.flagged_face[255 - case] == -1


def test_each_axis_and_side_is_flagged_equally_often() -> None:
    faces = TABLES.flagged_face[TABLES.flagged_face >= 0]
    assert torch.bincount(faces, minlength=6).tolist() == [6] * 6


def test_inside_corners_alone_make_separate_loops() -> None:
    assert len(case_loops(0)[0]) == len(case_loops(255)[0]) == 0
    assert case_loops(1)[0] == [[edge for edge, pair in enumerate(EDGES) if 0 in pair]]
    assert len(case_loops(1 << 1 | 1 << 2 | 1 << 4 | 1 << 7)[0]) == 4
