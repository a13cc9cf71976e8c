"""The 256 cases of dual marching cubes, derived from their rule (docs/developer/model-facts.md, section 8.4).

Corner c of a cube lies at (c & 1, c >> 1 & 1, c >> 2 & 1); bit c of a case id is set when corner c is inside.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# Edges as corner pairs, in the order of the published per-edge weights; y edges run from high to low.
EDGES = ((0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4))
MAX_LOOPS = 4


@dataclass(frozen=True)
class CaseTables:
    """What a case id says about a cube; -1 marks an entry that does not exist.

    loop_of_edge [256, 12] loop of each cut edge; loop_count [256]; edges_of_loop [256, 4, L] cut edges of each loop,
    padded by repeating its first edge; loop_length [256, 4]; flagged_face [256] = 2 * axis + (1 when the face lies on
    the high side) of the ambiguous face whose four edges share a loop.
    """

    loop_of_edge: Tensor
    loop_count: Tensor
    edges_of_loop: Tensor
    loop_length: Tensor
    flagged_face: Tensor

    def to(self, device: torch.device) -> "CaseTables":
        return CaseTables(**{name: value.to(device) for name, value in vars(self).items()})


def edge_index(axis: int, low_corner: int) -> int:
    """Index into `EDGES` of the edge that leaves `low_corner` along `axis`."""
    ends = {low_corner, low_corner | 1 << axis}
    return next(i for i, pair in enumerate(EDGES) if set(pair) == ends)


def face_corners(face: int) -> list[int]:
    """The four corners of face 2 * axis + side."""
    axis, side = divmod(face, 2)
    return [corner for corner in range(8) if corner >> axis & 1 == side]


def case_loops(case: int) -> tuple[list[list[int]], int]:
    """Cut edges of a case grouped into loops (ordered by their first edge), and its flagged face or -1."""
    inside = [bool(case >> corner & 1) for corner in range(8)]
    cut = [i for i, (a, b) in enumerate(EDGES) if inside[a] != inside[b]]
    label = {edge: edge for edge in cut}

    def join(first: int, second: int) -> None:
        old, new = label[second], label[first]
        for edge in cut:
            if label[edge] == old:
                label[edge] = new

    ambiguous = []
    for face in range(6):
        corners = face_corners(face)
        on_face = [edge for edge in cut if set(EDGES[edge]) <= set(corners)]
        if len(on_face) == 2:
            join(*on_face)
        elif len(on_face) == 4:
            ambiguous.append((face, on_face))
            for corner in corners:
                if inside[corner]:
                    join(*[edge for edge in on_face if corner in EDGES[edge]])
    loops = [[edge for edge in cut if label[edge] == name] for name in dict.fromkeys(label.values())]
    flagged = [face for face, edges in ambiguous if len({label[edge] for edge in edges}) == 1]
    return loops, flagged[0] if flagged else -1


@functools.cache
def _derive_tables() -> CaseTables:
    cases = [case_loops(case) for case in range(256)]
    longest = max(len(loop) for loops, _ in cases for loop in loops)
    loop_of_edge = torch.full((256, len(EDGES)), -1)
    edges_of_loop = torch.zeros(256, MAX_LOOPS, longest, dtype=torch.int64)
    loop_length = torch.zeros(256, MAX_LOOPS, dtype=torch.int64)
    for case, (loops, _) in enumerate(cases):
        for index, loop in enumerate(loops):
            loop_of_edge[case, loop] = index
            loop_length[case, index] = len(loop)
            edges_of_loop[case, index] = torch.tensor(loop + [loop[0]] * (longest - len(loop)))
    return CaseTables(
        loop_of_edge=loop_of_edge,
        loop_count=torch.tensor([len(loops) for loops, _ in cases]),
        edges_of_loop=edges_of_loop,
        loop_length=loop_length,
        flagged_face=torch.tensor([face for _, face in cases]),
    )


@functools.cache
def case_tables(device: torch.device) -> CaseTables:
    """The tables on `device`, derived at first use."""
    return _derive_tables().to(device)
