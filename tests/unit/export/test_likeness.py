"""One figure tells how much an asset looks like its picture."""

import dataclasses
import math

import pytest
import torch

from tests.clouds import round_cloud
from tests.unit.export.shapes import sphere
from tests.unit.export.test_picture_blend import figure, framed, photograph
from trellis.export.chain import ExportChain, FileSources
from trellis.export.likeness import rough_likeness, thinned
from trellis.export.options import FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.progress import Progress
from trellis.representations import Mesh


def camera_of(mesh: Mesh) -> Cameras:
    return framed(orbit_cameras([math.pi + 0.5], [0.35], radius=3.0, fov_degrees=32.0), mesh)


def bar() -> Mesh:
    ball = sphere(3)
    return Mesh(ball.vertices * torch.tensor([1.0, 0.3, 0.15]), ball.faces, torch.full((len(ball.vertices), 3), 0.5))


def recolored(mesh: Mesh) -> Mesh:
    assert mesh.attributes is not None
    return dataclasses.replace(mesh, attributes=1 - mesh.attributes)


def alike(mesh: Mesh, pictured: Mesh) -> float:
    figure = rough_likeness(mesh, None, photograph(pictured, camera_of(pictured)), progress=Progress())
    assert figure is not None
    return figure


def test_the_same_object_is_like_its_picture_and_another_is_not() -> None:
    same, shape, colors = alike(figure(), figure()), alike(bar(), figure()), alike(recolored(figure()), figure())
    assert same > 0.85
    assert colors < 0.5 and shape < 0.5
    assert min(shape, colors) >= 0 and same <= 1


def test_a_darker_picture_is_as_like_as_a_well_lit_one() -> None:
    mesh = figure()
    assert mesh.attributes is not None
    dark = dataclasses.replace(mesh, attributes=0.7 * mesh.attributes)
    assert alike(mesh, dark) == pytest.approx(alike(mesh, mesh), abs=0.05)


def test_a_chain_reuses_the_camera_of_the_texture_and_finds_one_without() -> None:
    mesh = figure()
    sources = FileSources(None, mesh, photograph(mesh, camera_of(mesh)))
    textured = ExportChain(sources, FileOptions(formats=("glb",), texture_size=512))
    assert textured.textured.likeness is not None and textured.likeness == textured.textured.likeness
    plain = ExportChain(sources, FileOptions(formats=("stl",), blend_picture=False))
    assert plain.likeness == pytest.approx(textured.likeness, abs=0.1) and "textured" not in vars(plain)
    assert ExportChain(FileSources(None, mesh), FileOptions()).likeness is None


def test_gaussians_alone_are_compared_too() -> None:
    mesh = figure()
    assert mesh.colors is not None
    cloud = round_cloud(mesh.vertices, mesh.colors, scale=0.02, opacity=0.99)
    same = rough_likeness(None, cloud, photograph(mesh, camera_of(mesh)), progress=Progress())
    other = rough_likeness(None, cloud, photograph(bar(), camera_of(bar())), progress=Progress())
    assert same is not None and other is not None and same > 0.6 and other < 0.4


def test_a_thinned_mesh_has_one_vertex_a_cell_and_keeps_its_shape() -> None:
    mesh = sphere(5)
    thin = thinned(mesh, 16)
    cells = ((thin.vertices + 0.5) * 16).long()
    assert len(torch.unique(cells, dim=0)) == len(cells) and 4 * len(cells) < len(mesh.vertices)
    assert thin.attributes is not None and len(thin.attributes) == len(thin.vertices)
    assert thin.faces.max() < len(thin.vertices) and 0 < len(thin.faces) < len(mesh.faces)
    assert (thin.vertices.norm(dim=1) - 0.4).abs().max() < 1e-3
