"""Simplification: the count is met, closed stays closed, attributes follow the surface; the closest point query."""

import pytest
import torch
import trimesh

from tests.unit.export.shapes import as_mesh, joined, painted, reader, sphere
from trellis.errors import Cancelled, InvalidInputError
from trellis.export.simplify import simplify, target_faces
from trellis.ops.closest_point import closest_point
from trellis.progress import Progress


@pytest.mark.parametrize("faces", [100, 500, 3000])
def test_count_closedness_and_colours(faces):
    mesh = sphere(4)
    light = simplify(mesh, faces=faces)
    assert abs(len(light.faces) - faces) <= max(2, 0.02 * faces)
    assert reader(light).is_watertight and reader(light).is_winding_consistent
    assert reader(light).volume == pytest.approx(reader(mesh).volume, rel=0.15 if faces == 100 else 0.02)
    on_sphere = 0.4 * torch.nn.functional.normalize(light.vertices, dim=1)
    assert (light.attributes - painted(on_sphere)).abs().max() < 0.01


def test_ratio_is_the_fraction_removed():
    mesh = sphere(3)
    assert abs(len(simplify(mesh, ratio=0.75).faces) - 320) <= 6
    assert simplify(mesh, ratio=0.0) is mesh
    assert simplify(mesh, faces=10**6) is mesh
    assert simplify(mesh) is mesh


def test_coplanar_faces_do_not_stall_the_count():
    shape = trimesh.creation.box(extents=(0.8, 0.6, 0.4))
    for _ in range(4):
        shape = shape.subdivide()
    light = simplify(as_mesh(shape), faces=200)
    assert len(light.faces) <= 204
    assert reader(light).is_watertight
    assert reader(light).volume == pytest.approx(shape.volume, rel=0.02)


def test_parts_far_from_the_origin_keep_their_place():
    light = simplify(joined(sphere(3, radius=0.1, center=(0.4, 0.4, 0.4)), sphere(3, radius=0.2)), faces=400)
    assert light.vertices.amax(0).allclose(torch.full((3,), 0.5), atol=0.02)
    assert reader(light).is_watertight


def test_smallest_parts_go_where_they_alone_keep_the_mesh_above_the_count():
    crumbs = [sphere(1, radius=0.005, center=(0.45, 0.02 * i - 0.4, 0.0)) for i in range(40)]
    light = simplify(joined(sphere(3), *crumbs), faces=100)
    assert 98 <= len(light.faces) <= 100
    assert reader(light).is_watertight
    assert reader(light).volume == pytest.approx(reader(sphere(3)).volume, rel=0.15)
    # Bodies of equal size all stay, with more faces than asked.
    many = simplify(joined(*[sphere(1, radius=0.05, center=(0.0, 0.0, 0.12 * i - 0.4)) for i in range(6)]), faces=10)
    assert len(many.faces) == 24 and reader(many).body_count == 6


def test_mesh_without_attributes():
    light = simplify(as_mesh(trimesh.creation.icosphere(subdivisions=3), colored=False), faces=200)
    assert light.attributes is None and len(light.faces) <= 204


def test_bad_targets():
    for wrong in ({"ratio": 1.0}, {"ratio": -0.1}, {"faces": 3}, {"ratio": 0.5, "faces": 100}):
        with pytest.raises(InvalidInputError):
            target_faces(1000, **wrong)


def test_cancelled_before_the_start():
    progress = Progress()
    progress.cancel.cancel()
    with pytest.raises(Cancelled):
        simplify(sphere(3), faces=100, progress=progress)


def test_closest_point_against_trimesh():
    mesh = sphere(2)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    found = closest_point(points, mesh.vertices, mesh.faces)
    _, distance, _ = trimesh.proximity.closest_point_naive(reader(mesh), points.numpy())
    assert torch.allclose(found.distances, torch.from_numpy(distance).float(), atol=1e-6)
    assert torch.allclose(found.barycentrics.sum(1), torch.ones(200), atol=1e-5)
    assert (found.barycentrics > -1e-5).all()
    corners = mesh.vertices[mesh.faces[found.faces].long()]
    place = (corners * found.barycentrics[..., None]).sum(1)
    assert torch.allclose((place - points).norm(dim=1), found.distances, atol=1e-6)


def test_closest_point_rejects_nothing():
    points = torch.zeros(1, 3)
    with pytest.raises(InvalidInputError, match="no faces"):
        closest_point(points, points, torch.zeros(0, 3, dtype=torch.int32))
