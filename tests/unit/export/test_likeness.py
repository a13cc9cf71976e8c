"""One figure tells how much an asset looks like its picture."""

import dataclasses
import math

import pytest
import torch

from tests.unit.export.shapes import sphere
from tests.unit.export.test_picture_blend import figure, framed, photograph
from trellis.export.chain import ExportChain, FileSources
from trellis.export.likeness import rough_likeness, thinned
from trellis.export.options import FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh


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
    assert 0 <= min(shape, colors) and same <= 1


def test_a_darker_picture_is_as_like_as_a_well_lit_one() -> None:
    mesh = figure()
    assert mesh.attributes is not None
    dark = dataclasses.replace(mesh, attributes=0.7 * mesh.attributes)
    assert alike(mesh, dark) == pytest.approx(alike(mesh, mesh), abs=0.05)
