"""Quadric edge collapse: the kernels and their serial twin keep manifolds, handles, borders and shape."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from tests.backends.serial_collapse import collapse_serially
from trellis.errors import Cancelled
from trellis.ops.closest_point import closest_point
from trellis.ops.edge_collapse import collapse_edges

Shape = tuple[Tensor, Tensor]
Collapse = Callable[..., Shape]
BOTH = pytest.mark.parametrize("collapse", [collapse_edges, collapse_serially])


def shape(made: trimesh.Trimesh) -> Shape:
    return torch.tensor(made.vertices, dtype=torch.float32), torch.tensor(made.faces, dtype=torch.int32)


def reader(vertices: Tensor, faces: Tensor) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)


def rms(light: Shape, full: Shape) -> float:
    """Root mean square of the distances both ways, at points spread by area."""
    distances = []
    for one, other in ((light, full), (full, light)):
        points, _ = trimesh.sample.sample_surface(reader(*one), 4000, seed=1)
        distances.append(closest_point(torch.tensor(np.array(points), dtype=torch.float32), *other).distances)
    return float(torch.cat(distances).square().mean().sqrt())


def bumpy() -> Shape:
    made = trimesh.creation.icosphere(subdivisions=4)
    x, y, z = made.vertices.T
    made.vertices *= (1 + 0.1 * np.sin(7 * x) * np.cos(5 * y) + 0.05 * np.sin(9 * z))[:, None]
    return shape(made)


@BOTH
@pytest.mark.parametrize(
    ("make", "euler"),
    [
        (lambda: trimesh.creation.icosphere(subdivisions=3), 2),
        (lambda: trimesh.creation.torus(major_radius=1, minor_radius=0.3), 0),
        (lambda: trimesh.creation.box(extents=(1, 2, 3)).subdivide().subdivide().subdivide(), 2),
        (lambda: trimesh.creation.box(extents=(1, 1, 1e-3)).subdivide().subdivide().subdivide(), 2),
    ],
)
@pytest.mark.parametrize("target", [400, 60])
def test_closed_surfaces_stay_closed_and_keep_their_handles(
    make: Callable[[], trimesh.Trimesh], euler: int, target: int, collapse: Collapse
) -> None:
    full = make()
    light = reader(*collapse(*shape(full), target))
    assert target - 1 <= len(light.faces) <= target
    assert light.is_watertight and light.is_winding_consistent
    assert light.euler_number == euler == full.euler_number
    assert len(light.vertices) == len(light.faces) // 2 + euler
    assert light.volume == pytest.approx(full.volume, rel=0.03 if target == 400 else 0.3)
    assert (light.area_faces > 0).all()


@pytest.mark.parametrize("target", [1000, 300, 100])
def test_parallel_rounds_are_as_good_as_the_serial_reference(target: int) -> None:
    full = bumpy()
    parallel, serial = (collapse(*full, target) for collapse in (collapse_edges, collapse_serially))
    assert len(parallel[1]) == len(serial[1]) == target
    assert rms(parallel, full) <= 1.1 * rms(serial, full)
    assert rms(serial, full) < 2 * 2.6 / target  # falls as the area of a face does


@BOTH
def test_border_of_an_open_surface_stays_in_place(collapse: Collapse) -> None:
    made = trimesh.creation.box(extents=(1, 1, 1)).subdivide().subdivide().subdivide()
    made.update_faces(made.triangles_center[:, 2] < 0.499)
    light = reader(*collapse(*shape(made), 40))
    assert len(light.faces) in (39, 40) and light.euler_number == 1
    assert light.bounds == pytest.approx(made.bounds, abs=1e-3)
    border = light.edges[trimesh.grouping.group_rows(light.edges_sorted, require_count=1)]
    assert len(border) >= 4
    assert light.vertices[border.reshape(-1), 2] == pytest.approx(0.5, abs=1e-3)
    assert light.area == pytest.approx(made.area, rel=1e-2)


@BOTH
def test_nothing_is_collapsed_away(collapse: Collapse) -> None:
    tetrahedra = trimesh.util.concatenate(
        [trimesh.creation.icosphere(subdivisions=1).apply_translation((3 * i, 0, 0)) for i in range(3)]
    )
    light = reader(*collapse(*shape(tetrahedra), 1))
    assert len(light.faces) == 12 and light.is_watertight and light.body_count == 3


@BOTH
def test_edge_of_four_faces_keeps_its_place(collapse: Collapse) -> None:
    left = trimesh.creation.box(bounds=[[-1, -1, -1], [0, 0, 1]])
    right = trimesh.creation.box(bounds=[[0, 0, -1], [1, 1, 1]])
    both = trimesh.util.concatenate([left, right])
    for _ in range(3):
        both = both.subdivide()
    both.merge_vertices()
    vertices, faces = collapse(*shape(both), 150)
    light = reader(vertices, faces)
    assert len(faces) <= 150
    assert light.volume == pytest.approx(4.0, rel=0.02)
    on_edge = (vertices[:, :2].abs() < 1e-6).all(1)
    assert on_edge.sum() == 9  # as many as before: they are not touched
    _, counts = np.unique(light.edges_sorted, axis=0, return_counts=True)
    assert set(counts.tolist()) == {2, 4}


@BOTH
def test_degenerate_faces_do_no_harm(collapse: Collapse) -> None:
    vertices, faces = shape(trimesh.creation.icosphere(subdivisions=3))
    vertices[faces[:60, 0].long()] = vertices[faces[:60, 1].long()]  # edges without length
    light = reader(*collapse(vertices, faces, 300))
    assert np.isfinite(light.vertices).all()
    assert len(light.faces) == 300 and light.is_watertight


def test_same_input_same_result() -> None:
    full = bumpy()
    one, other = (collapse_edges(*full, 200) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@BOTH
def test_the_listener_can_stop_it(collapse: Collapse) -> None:
    counts: list[int] = []

    def stop(faces: int) -> None:
        counts.append(faces)
        if len(counts) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        collapse(*shape(trimesh.creation.icosphere(subdivisions=3)), 100, before_round=stop)
    assert counts[0] == 1280 > counts[1]


def test_no_work() -> None:
    vertices, faces = shape(trimesh.creation.icosphere(subdivisions=1))
    same = collapse_edges(vertices, faces, 80)
    assert same[0] is vertices and torch.equal(same[1], faces)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_gpu_is_as_good_and_repeatable() -> None:
    full = bumpy()
    there = tuple(tensor.cuda() for tensor in full)
    runs = [tuple(tensor.cpu() for tensor in collapse_edges(*there, 300)) for _ in range(2)]
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert reader(*runs[0]).is_watertight and len(runs[0][1]) == 300
    assert rms(runs[0], full) <= 1.1 * rms(collapse_edges(*full, 300), full)
