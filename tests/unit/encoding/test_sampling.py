"""Samples are even by area, lie on their faces, repeat with their seed; meshes fit the cube and come back."""

from dataclasses import replace

import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import source, sphere
from trellis.encoding.sampling import face_normals, sample_surface
from trellis.encoding.source_mesh import normalize_mesh
from trellis.errors import InvalidInputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_even_by_area() -> None:
    """Counts on faces of very different sizes follow their areas (chi-square), and fill each face evenly."""
    mesh = source(trimesh.creation.cylinder(radius=0.1, height=1.0, sections=7))
    samples = sample_surface(mesh, 40_000, generator=seeded())
    areas = face_normals(mesh)[1]
    expected = areas / areas.sum() * 40_000
    found = torch.bincount(samples.faces, minlength=len(areas)).double()
    degrees = len(areas) - 1
    assert ((found - expected).square() / expected).sum() < degrees + 4 * (2 * degrees) ** 0.5
    assert torch.allclose(samples.barycentrics.mean(0), torch.full((3,), 1 / 3), atol=5e-3)
    assert torch.allclose(samples.barycentrics.square().mean(0), torch.full((3,), 1 / 6), atol=5e-3)


def test_points_and_normals_lie_on_their_faces() -> None:
    mesh = source(sphere(3))
    samples = sample_surface(mesh, 2000, generator=seeded())
    corners = mesh.corners(samples.faces)
    height = ((samples.points - corners[:, 0]) * samples.normals).sum(1)
    assert height.abs().max() < 1e-6
    outward = torch.nn.functional.normalize(samples.points, dim=1)
    assert ((samples.normals * outward).sum(1) > 0.99).all()
    assert torch.allclose(samples.normals.norm(dim=1), torch.ones(2000), atol=1e-5)


def test_seeds() -> None:
    mesh = source(sphere(2))
    one, again, other = (sample_surface(mesh, 100, generator=seeded(seed)).points for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_faces_without_area_get_no_samples() -> None:
    mesh = source(sphere(1))
    first, last = mesh.faces[:1, [0, 1, 1]], mesh.faces[-1:, [0, 0, 1]]
    faces = torch.cat([first, mesh.faces, last])
    mesh = replace(mesh, faces=faces, face_materials=torch.zeros(len(faces), dtype=torch.int64))
    found = sample_surface(mesh, 5000, generator=seeded()).faces
    assert found.min() == 1 and found.max() == len(faces) - 2
    nothing = replace(mesh, faces=first, face_materials=torch.zeros(1, dtype=torch.int64))
    with pytest.raises(InvalidInputError, match="no area"):
        sample_surface(nothing, 10, generator=seeded())
    with pytest.raises(InvalidInputError, match="at least 0"):
        sample_surface(mesh, -1, generator=seeded())


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
