"""Half edges: the same in numpy and torch, as brute force finds them; and the atlas' child program stays light."""

import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import torch
import trimesh

from trellis.ops.half_edges import EdgeTable, connected_parts, corner_fans, face_vectors, following

SPHERE = np.array(trimesh.creation.icosphere(subdivisions=1).faces, dtype=np.int64)
MOEBIUS = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4], [4, 5, 1], [5, 0, 1]], dtype=np.int64)
BOOK = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4], [5, 6, 4]], dtype=np.int64)  # three leaves, and one at a corner
SHAPES = {"closed": SPHERE, "open": SPHERE[:30], "Moebius": MOEBIUS, "book": BOOK, "nothing": SPHERE[:0]}


def brute_force(faces: np.ndarray) -> list[list[int]]:
    """The half edges of every edge, edges in the order of their vertices."""
    found = defaultdict(list)
    for half, (start, end) in enumerate(zip(faces.ravel(), faces[:, [1, 2, 0]].ravel())):
        found[min(start, end), max(start, end)].append(half)
    return [found[key] for key in sorted(found)]


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda faces: torch.from_numpy(faces).int()])
@pytest.mark.parametrize("shape", SHAPES)
def test_edges_are_those_of_brute_force(shape: str, make) -> None:
    faces, expected = SHAPES[shape], brute_force(SHAPES[shape])
    edges = EdgeTable.build(make(faces), 42)
    assert np.asarray(edges.order).tolist() == [half for edge in expected for half in edge]
    assert np.asarray(edges.counts).tolist() == [len(edge) for edge in expected]
    assert np.stack(edges.pairs()).T.tolist() == [edge for edge in expected if len(edge) == 2]
    uses = {half: len(edge) for edge in expected for half in edge}
    assert np.asarray(edges.uses()).tolist() == [uses[half] for half in range(faces.size)]
    assert edges.watertight == (shape == "closed")
    corners = faces.ravel()
    assert (np.asarray(edges.starts) == corners).all()
    assert (np.asarray(edges.ends) == corners[following(np.arange(faces.size))]).all()


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(("shape", "fans"), [("closed", 42), ("book", 12), ("Moebius", 6), ("nothing", 0)])
def test_corners_around_a_vertex_are_one_fan(shape: str, fans: int, make) -> None:
    faces = make(SHAPES[shape])
    count, fan = corner_fans(faces, *EdgeTable.build(faces, 42).pairs())
    assert count == fans and len(np.unique(np.asarray(fan))) == fans
    # A fan lies at one vertex.
    assert len(np.unique(np.stack([np.asarray(fan), np.asarray(faces).ravel()]), axis=1).T) == fans


def test_parts_are_numbered_by_their_lowest_nodes() -> None:
    left, right = np.array([5, 3]), np.array([1, 4])
    for make in (np.asarray, torch.from_numpy):
        count, part = connected_parts(6, make(left), make(right))
        assert count == 4 and np.asarray(part).tolist() == [0, 1, 2, 3, 3, 1]


def test_face_vectors_point_outward_and_have_twice_the_area() -> None:
    box = trimesh.creation.box()
    for corners in (box.triangles, torch.tensor(box.triangles)):
        assert np.allclose(np.asarray(face_vectors(corners)), 2 * box.area_faces[:, None] * box.face_normals)


def test_the_program_that_makes_atlases_imports_no_torch() -> None:
    code = "import sys; import trellis.ops.atlas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
