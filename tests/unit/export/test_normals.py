"""Normals: flat on flat faces, smooth on round ones, split exactly where the surface is sharp."""

import io

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.export.shapes import as_mesh, sphere, textured_mesh
from trellis.export import normals
from trellis.export.glb import glb_bytes
from trellis.export.normals import corner_normals
from trellis.export.surface import Surface
from trellis.export.unwrap import unwrap
from trellis.ops.half_edges import face_vectors
from trellis.representations import Mesh


def box(**changes: object) -> Surface:
    return Surface.from_mesh(as_mesh(trimesh.creation.box(extents=(0.8, 0.6, 0.4), **changes)))


def test_a_box_gets_24_vertices_with_the_normals_of_its_faces():
    surface = box()
    assert len(surface.vertices) == 8
    result = unwrap(surface, 256)
    assert len(result.vertices) == 24
    expected = face_vectors(surface.corners()) / np.linalg.norm(face_vectors(surface.corners()), axis=1, keepdims=True)
    assert np.abs(result.normals[result.faces] - expected[:, None]).max() < 1e-12
    assert np.array_equal(result.vertices[result.faces], surface.corners())


def test_written_box_has_flat_faces_for_another_reader():
    textured = textured_mesh(as_mesh(trimesh.creation.box(extents=(0.8, 0.6, 0.4))))
    shape = trimesh.load(io.BytesIO(glb_bytes(textured)), file_type="glb", process=False).geometry["object"]
    assert len(shape.vertices) == 24
    assert np.abs(shape.vertex_normals[shape.faces] - shape.face_normals[:, None]).max() < 1e-6
    welded = shape.copy()
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    assert welded.is_watertight and welded.volume == pytest.approx(0.8 * 0.6 * 0.4)


def test_a_sphere_stays_smooth():
    surface = Surface.from_mesh(sphere(3))
    corners = corner_normals(surface)
    assert len(corners.normals) == len(surface.vertices)
    radial = surface.corners() / np.linalg.norm(surface.corners(), axis=2, keepdims=True)
    assert (corners.normals[corners.groups] * radial).sum(axis=2).min() > np.cos(np.radians(1.5))


def test_a_cylinder_is_round_at_its_side_and_sharp_at_its_rims():
    surface = Surface.from_mesh(as_mesh(trimesh.creation.cylinder(radius=0.3, height=0.8, sections=24)))
    corners = corner_normals(surface)
    normals, points = corners.normals[corners.groups], surface.corners()
    unit = face_vectors(surface.corners()) / np.linalg.norm(face_vectors(surface.corners()), axis=1, keepdims=True)
    cap = np.abs(unit[:, 2]) > 0.9
    assert np.abs(normals[cap] - unit[cap][:, None]).max() < 1e-12
    radial = points[~cap] * [1, 1, 0] / 0.3
    # The two triangles of a strip weigh unlike at a corner: up to a third of the 15 degrees between strips.
    assert (normals[~cap] * radial).sum(axis=2).min() > np.cos(np.radians(5.1))
    assert np.abs(normals[~cap][..., 2]).max() < 1e-12


def test_a_narrow_bevel_leaves_the_large_faces_flat():
    # Edges cut at 30 degrees to the upper face: joined with it, but too small to bend its normals.
    outer, inner, drop = 0.5, 0.49, 0.01 * np.tan(np.radians(30))
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    vertices = np.concatenate([np.c_[square * inner, np.zeros(4)], np.c_[square * outer, np.full(4, -drop)]])
    faces = [[0, 1, 2], [0, 2, 3]]
    for i in range(4):
        j = (i + 1) % 4
        faces += [[i, i + 4, j + 4], [i, j + 4, j]]
    corners = corner_normals(Surface(vertices, np.array(faces)))
    assert corners.normals[corners.groups[:2]][..., 2].min() > np.cos(np.radians(2))


@pytest.mark.parametrize(("degrees", "count"), [(89.0, 24), (91.0, 8), (180.0, 8), (0.0, 24)])
def test_the_angle_decides(degrees, count, monkeypatch):
    monkeypatch.setattr(normals, "CREASE_DEGREES", degrees)
    assert len(corner_normals(box()).normals) == count
    assert len(unwrap(box(), 256).vertices) == 24


def test_the_same_input_gives_the_same_vertices():
    shape = trimesh.creation.cylinder(radius=0.3, height=0.8, sections=32)
    first, second = (unwrap(Surface.from_mesh(as_mesh(shape)), 256) for _ in range(2))
    for name in ("vertices", "normals", "uvs", "faces", "vertex_map"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_faces_without_area_or_partner_have_a_normal():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    surface = Surface.from_mesh(Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)))
    corners = corner_normals(surface)
    assert np.allclose(corners.normals, [0, 0, 1])
    assert corner_normals(Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))).groups.shape == (0, 3)
