"""Normals of faces; meshes fit the cube and come back."""

from dataclasses import replace

import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import source, sphere
from tests.unit.encoding.samples import sample_surface
from trellis.encoding.normals import face_normals
from trellis.encoding.source_mesh import normalize_mesh
from trellis.errors import InvalidInputError


def test_points_and_normals_lie_on_their_faces() -> None:
    mesh = source(sphere(3))
    samples = sample_surface(mesh, 2000, generator=torch.Generator().manual_seed(0))
    corners = mesh.corners(samples.faces)
    height = ((samples.points - corners[:, 0]) * samples.normals).sum(1)
    assert height.abs().max() < 1e-6
    outward = torch.nn.functional.normalize(samples.points, dim=1)
    assert ((samples.normals * outward).sum(1) > 0.99).all()
    assert torch.allclose(samples.normals.norm(dim=1), torch.ones(2000), atol=1e-5)


def test_faces_without_area_have_no_normal() -> None:
    mesh = source(sphere(1))
    faces = torch.cat([mesh.faces[:1, [0, 1, 1]], mesh.faces])
    mesh = replace(mesh, faces=faces, face_materials=torch.zeros(len(faces), dtype=torch.int64))
    normals, areas = face_normals(mesh)
    assert areas[0] == 0 and (areas[1:] > 0).all()
    assert (normals[0] == 0).all() and torch.allclose(normals[1:].norm(dim=1), torch.ones(len(faces) - 1))


@pytest.mark.parametrize("side", [0.95, 1.0])
def test_normalised_and_back(side: float) -> None:
    shape = trimesh.creation.box([3.0, 7.0, 1.0])
    shape.apply_translation([100, -20, 5])
    mesh = source(shape)
    placed = normalize_mesh(mesh, side=side)
    low, high = placed.mesh.vertices.amin(0), placed.mesh.vertices.amax(0)
    assert torch.allclose(low, torch.tensor([-3.0, -7, -1]) / 14 * side, atol=1e-6)
    assert torch.allclose(high, -low, atol=1e-6) and high.max() <= 0.5 and low.min() >= -0.5
    back = placed.to_cube.inverse().apply(placed.mesh.vertices)
    assert torch.allclose(back, mesh.vertices, atol=1e-4)
    assert torch.allclose(placed.to_cube.apply(mesh.vertices), placed.mesh.vertices, atol=1e-6)


def test_vertices_without_faces_do_not_count() -> None:
    mesh = source(sphere(1))
    stray = replace(
        mesh,
        vertices=torch.cat([mesh.vertices, torch.tensor([[50.0, 0, 0]])]),
        uvs=torch.zeros(43, 2),
        vertex_colors=torch.ones(43, 4),
    )
    assert normalize_mesh(stray).to_cube == normalize_mesh(mesh).to_cube


def test_what_has_no_size() -> None:
    mesh = source(sphere(1))
    with pytest.raises(InvalidInputError, match="the same"):
        normalize_mesh(replace(mesh, vertices=torch.ones_like(mesh.vertices)))
    with pytest.raises(InvalidInputError, match="no faces"):
        normalize_mesh(replace(mesh, faces=mesh.faces[:0], face_materials=mesh.face_materials[:0]))
    with pytest.raises(InvalidInputError, match="side"):
        normalize_mesh(mesh, side=1.5)
