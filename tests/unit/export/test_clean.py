"""Mesh repair on the hard cases: floaters, shells, holes, winding, sheets, non-manifold edges, nothing at all."""

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.export.shapes import as_mesh, flipped, joined, painted, reader, sphere, without_faces
from trellis.errors import Cancelled
from trellis.export import clean as cleaning
from trellis.export.clean import clean
from trellis.export.holes import boundary_loops, triangulate_loop
from trellis.export.manifold import split_touching
from trellis.export.surface import Surface, vertex_normals
from trellis.export.topology import face_parts
from trellis.ops.half_edges import EdgeTable
from trellis.progress import Progress
from trellis.representations import Mesh


def parts(mesh: Mesh) -> int:
    return face_parts(mesh.faces, len(mesh.vertices))[0]


def edges_of(mesh: Mesh) -> EdgeTable:
    return EdgeTable.build(mesh.faces, len(mesh.vertices))


def test_a_sound_mesh_is_returned_unchanged():
    mesh = sphere()
    cleaned = clean(mesh)
    assert torch.equal(cleaned.vertices, mesh.vertices) and torch.equal(cleaned.faces, mesh.faces)
    assert torch.equal(cleaned.attributes, mesh.attributes)


def test_floaters_go_and_parts_stay():
    crumb = sphere(1, radius=0.01, center=(0.45, 0.4, 0.4))
    rod = as_mesh(trimesh.creation.cylinder(radius=0.005, height=0.3, sections=6))
    rod = Mesh(rod.vertices + torch.tensor([0.45, 0.0, 0.0]), rod.faces, rod.attributes)
    cleaned = clean(joined(crumb, sphere(radius=0.3), rod))
    assert parts(cleaned) == 2
    assert cleaned.vertices[:, 0].max() > 0.44  # the rod has little area but is long
    assert len(cleaned.vertices) == len(sphere().vertices) + len(rod.vertices)
    assert torch.allclose(cleaned.attributes[: len(sphere().vertices)], painted(sphere(radius=0.3).vertices))


def test_inner_shell_goes_and_neighbour_stays(monkeypatch):
    hollow = joined(sphere(radius=0.3), flipped(sphere(radius=0.2)))
    assert parts(clean(hollow)) == 1
    assert reader(clean(hollow)).volume == pytest.approx(reader(sphere(radius=0.3)).volume, rel=1e-6)
    # In the box of an open hemisphere or a ring, but not enclosed.
    ring = as_mesh(trimesh.creation.torus(major_radius=0.4, minor_radius=0.05))
    assert parts(clean(joined(ring, sphere(radius=0.04)))) == 2
    monkeypatch.setattr(cleaning, "remove_hidden", lambda mesh, *, limits: mesh)
    assert parts(clean(hollow)) == 2


@pytest.mark.parametrize("which", ["all", "some"])
def test_winding_is_made_outward(which):
    mesh = sphere()
    chosen = torch.ones(len(mesh.faces), dtype=torch.bool)
    if which == "some":
        chosen = torch.rand(len(mesh.faces), generator=torch.Generator().manual_seed(0)) < 0.4
    cleaned = reader(clean(flipped(mesh, chosen)))
    assert cleaned.is_winding_consistent
    assert cleaned.volume == pytest.approx(reader(mesh).volume, rel=1e-6)


def test_hole_is_closed(monkeypatch):
    mesh = sphere()
    hole = mesh.vertices[mesh.faces.long()].mean(1)[:, 2] > 0.37
    assert hole.sum() > 10
    opened = without_faces(mesh, hole)
    cleaned = clean(opened)
    assert reader(cleaned).is_watertight and reader(cleaned).is_winding_consistent
    assert reader(cleaned).volume == pytest.approx(reader(mesh).volume, rel=0.05)
    for name, value in (("MOST_HOLE_EDGES", 0), ("MOST_HOLE_PERIMETER", 0.1)):
        with monkeypatch.context() as patch:
            patch.setattr(cleaning, name, value)
            assert reader(clean(opened)).is_watertight is False


def test_holes_that_touch_in_a_vertex_are_closed():
    mesh = sphere(2)
    around = (mesh.faces == 20).any(1).nonzero().squeeze(1)
    # Two fans of one vertex that share only the vertex.
    shape = reader(mesh)
    ring = [int(around[0])]
    opposite = [int(f) for f in around if len(set(shape.faces[f]) & set(shape.faces[ring[0]])) == 1]
    drop = torch.zeros(len(mesh.faces), dtype=torch.bool)
    drop[ring + opposite[:1]] = True
    opened = without_faces(mesh, drop)
    assert sorted(len(loop) for loop in boundary_loops(opened)) == [3, 3]
    cleaned = clean(opened)
    assert reader(cleaned).is_watertight and len(cleaned.vertices) == len(mesh.vertices)


def test_faults_are_removed():
    mesh = sphere(2)
    extra = torch.tensor([[0, 1, 1], [5, 5, 5], [0, 1, 100000]], dtype=torch.int32)
    vertices = torch.cat([mesh.vertices, torch.tensor([[torch.nan, 0, 0], [0.1, 0.1, 0.1]])])
    broken = torch.tensor([[0, 1, len(mesh.vertices)]], dtype=torch.int32)
    faces = torch.cat([mesh.faces, mesh.faces[:7], extra, broken])
    cleaned = clean(Mesh(vertices, faces, painted(torch.nan_to_num(vertices))))
    assert reader(cleaned).is_watertight
    assert len(cleaned.faces) == len(mesh.faces) and len(cleaned.vertices) == len(mesh.vertices)


def test_collapsed_edge_leaves_no_slit():
    mesh = sphere(2)
    vertices = mesh.vertices.clone()
    a, b = mesh.faces[0, 0].item(), mesh.faces[0, 1].item()
    vertices[b] = vertices[a]
    cleaned = clean(Mesh(vertices, mesh.faces, mesh.attributes))
    assert reader(cleaned).is_watertight
    assert len(cleaned.faces) == len(mesh.faces) - 2 and len(cleaned.vertices) == len(mesh.vertices) - 1


def test_thin_sheet_survives():
    sheet = as_mesh(trimesh.creation.box(extents=(0.8, 0.8, 0.002)).subdivide().subdivide())
    cleaned = clean(sheet)
    assert reader(cleaned).is_watertight and len(cleaned.faces) == len(sheet.faces)


def test_large_opening_stays_open_and_keeps_outward_faces(monkeypatch):
    dome = as_mesh(trimesh.creation.icosphere(subdivisions=3, radius=0.4))
    dome = without_faces(dome, dome.vertices[dome.faces.long()].mean(1)[:, 2] < 0)
    monkeypatch.setattr(cleaning, "MOST_HOLE_PERIMETER", 0.5)
    cleaned = clean(dome)
    assert (edges_of(cleaned).counts == 1).any()
    centers = cleaned.vertices[cleaned.faces.long()].mean(1)
    a, b, c = cleaned.vertices[cleaned.faces.long()].unbind(1)
    assert ((torch.linalg.cross(b - a, c - a) * centers).sum(1) > 0).all()


def test_fin_on_a_closed_surface_is_peeled_off():
    mesh = sphere(2)
    fin = torch.cat([mesh.vertices, torch.tensor([[0.0, 0.0, 0.6]])])
    edge = mesh.faces[0, :2].tolist()
    faces = torch.cat([mesh.faces, torch.tensor([[*edge, len(mesh.vertices)]], dtype=torch.int32)])
    cleaned = clean(Mesh(fin, faces, painted(fin)))
    assert len(cleaned.faces) == len(mesh.faces)
    assert reader(cleaned).is_watertight


def two_boxes(*, corner_only: bool) -> trimesh.Trimesh:
    """Two boxes, welded, that share an edge or just a corner."""
    left = trimesh.creation.box(bounds=[[-0.4, -0.4, -0.4], [0, 0, 0]])
    right = trimesh.creation.box(bounds=[[0, 0, 0 if corner_only else -0.4], [0.4, 0.4, 0.4 if corner_only else 0]])
    both = trimesh.util.concatenate([left.subdivide(), right.subdivide()])
    both.merge_vertices()
    return both


@pytest.mark.parametrize("corner_only", [False, True])
def test_bodies_that_touch_are_parted(corner_only):
    both = two_boxes(corner_only=corner_only)
    crowded = edges_of(as_mesh(both)).counts > 2
    assert crowded.sum() == (0 if corner_only else 2) and parts(as_mesh(both)) == 1
    cleaned = clean(as_mesh(both))
    assert edges_of(cleaned).watertight
    assert parts(cleaned) == 2
    assert len(cleaned.vertices) == len(both.vertices) + (1 if corner_only else 3)
    assert cleaned.attributes.shape == (len(cleaned.vertices), 3)
    welded = reader(cleaned)
    welded.merge_vertices()
    assert welded.is_watertight and welded.is_winding_consistent and welded.body_count == 2
    assert welded.volume == pytest.approx(both.volume, rel=0.01)


def test_parting_leaves_sound_meshes_alone():
    ball = sphere(2)
    bowl = without_faces(ball, ball.vertices[ball.faces.long()].mean(1)[:, 2] > 0.2)
    for mesh in (ball, bowl, as_mesh(trimesh.creation.annulus(0.2, 0.4, 0.3))):
        assert split_touching(mesh) is mesh


def test_wall_in_a_closed_body_goes_with_its_edges_of_three_faces(monkeypatch):
    drum = trimesh.creation.revolve([[0, -0.4], [0.4, -0.4], [0.4, 0], [0.4, 0.4], [0, 0.4]], sections=16)
    drum.merge_vertices()
    middle = [i for i, p in enumerate(drum.vertices) if abs(p[2]) < 1e-9]
    ring = sorted(middle, key=lambda i: np.arctan2(drum.vertices[i][1], drum.vertices[i][0]))
    wall = [[ring[0], ring[i], ring[i + 1]] for i in range(1, 15)]
    faces = torch.cat([torch.tensor(drum.faces, dtype=torch.int32), torch.tensor(wall, dtype=torch.int32)])
    vertices = torch.tensor(drum.vertices, dtype=torch.float32)
    walled = Mesh(vertices, faces, painted(vertices))
    assert len(ring) == 16 and (edges_of(walled).counts > 2).sum() == 16
    cleaned = clean(walled)
    assert len(cleaned.faces) == len(drum.faces)
    assert reader(cleaned).is_watertight and reader(cleaned).is_winding_consistent
    assert reader(cleaned).volume == pytest.approx(abs(drum.volume), rel=1e-5)
    # Left in place, the wall parts the drum in two closed ones.
    monkeypatch.setattr(cleaning, "remove_hidden", lambda mesh, *, limits: mesh)
    monkeypatch.setattr(cleaning, "MOST_HOLE_PERIMETER", 9)
    kept = clean(walled)
    assert reader(kept).is_watertight and reader(kept).body_count == 2
    assert reader(kept).volume == pytest.approx(abs(drum.volume), rel=0.05)


@pytest.mark.parametrize("attributes", [None, torch.zeros(0, 6)])
def test_empty_mesh_stays_empty(attributes):
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), attributes)
    cleaned = clean(empty)
    assert len(cleaned.faces) == 0 and len(cleaned.vertices) == 0


def test_long_loop_is_filled_like_a_short_one(monkeypatch):
    """A wavy rim of 500 edges: as flat as its plane allows, closed, and wound like the rest."""
    mesh = as_mesh(trimesh.creation.cylinder(radius=0.2, height=0.4, sections=500))
    lid = mesh.vertices[mesh.faces.long()].mean(1)[:, 2] > 0.19
    opened = without_faces(mesh, lid)
    assert [len(loop) for loop in boundary_loops(opened)] == [500]
    monkeypatch.setattr(cleaning, "MOST_HOLE_PERIMETER", 3.0)
    cleaned = reader(clean(opened))
    assert cleaned.is_watertight and cleaned.is_winding_consistent
    assert cleaned.volume == pytest.approx(reader(mesh).volume, rel=1e-3)
    assert cleaned.area == pytest.approx(reader(mesh).area, rel=1e-3)


def test_cancelled_between_steps():
    progress = Progress()
    progress.cancel.cancel()
    with pytest.raises(Cancelled):
        clean(sphere(1), progress=progress)


def test_triangulation_has_least_area():
    square = np.array([[0, 0, 0], [1, 0, 0.2], [1, 1, 0], [0, 1, 0.2]], dtype=float)
    dented = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0.5, 0.1, 0], [0, 1, 0]], dtype=float)
    assert triangulate_loop(square).shape == (2, 3)
    triangles = dented[triangulate_loop(dented)]
    area = 0.5 * np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    assert area.sum() == pytest.approx(0.55)  # the polygon's own area: no triangle outside it
    forbidden = np.ones((5, 5), dtype=bool)
    assert triangulate_loop(dented, forbidden) is None


def test_vertex_normals_of_a_sphere_point_outward():
    surface = Surface.from_mesh(sphere(3))
    expected = surface.vertices / np.linalg.norm(surface.vertices, axis=1, keepdims=True)
    assert (vertex_normals(surface) * expected).sum(1).min() > 0.9995
