"""The surface found coarse to fine is that of the dense grid, and asks a small part of its points."""

import math

import pytest
import torch
from torch import Tensor

from tests.tiny_shape_model import DECODER_PARAMS, TURBO_PARAMS, ball_decoder
from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.representations import Mesh, implicit_surface
from trellis.representations.flexicubes import extract_mesh
from trellis.representations.implicit_surface import Field, implicit_mesh, node_points
from trellis.stages import Stage

CPU = torch.device("cpu")


def torus_and_plate(points: Tensor) -> Tensor:
    """Logits that saturate: a torus, and beside it a plate 0.04 thick that lies askew."""
    x, y, z = points.unbind(1)
    torus = torch.hypot(torch.hypot(x, z) - 0.55, y) - 0.18
    along = 0.8 * x + 0.6 * y + 0.05 * z
    plate = torch.stack([(along - 0.93).abs() / math.hypot(0.8, 0.6, 0.05) - 0.02, z.abs() - 0.5, (y - x).abs() - 0.4])
    return (-200 * torch.minimum(torus, plate.amax(0))).clamp(-1, 1)


def dense_mesh(field: Field, resolution: int, *, whole: bool = True) -> Mesh:
    """The surface in all cells of the grid, by FlexiCubes as TRELLIS has it; `whole` False leaves out what is flat."""
    side = resolution + 1
    logits = field(node_points(torch.arange(side**3), side=side, resolution=resolution)).view(side, side, side)
    corners = torch.stack([
        logits[a : a + resolution, b : b + resolution, c : c + resolution].reshape(-1)
        for c in (0, 1) for b in (0, 1) for a in (0, 1)
    ], 1)  # fmt: skip
    grid = torch.arange(resolution)
    cells = torch.cartesian_prod(grid, grid, grid)
    if not whole:
        crossed = (corners > 0).any(1) & (corners <= 0).any(1)
        cells, corners = cells[crossed], corners[crossed]
    features = torch.zeros(len(cells), 53)
    features[:, :8] = 1 / resolution - corners
    mesh = extract_mesh(cells, features, resolution=resolution, closed=whole)
    return Mesh(mesh.vertices * 2.02, mesh.faces)


def found_mesh(field: Field, resolution: int, progress: Progress | None = None) -> Mesh:
    return implicit_mesh(field, resolution=resolution, device=CPU, progress=progress or Progress())


def test_it_is_the_dense_grids_surface() -> None:
    resolution = 129  # cells of the coarse level are half outside at the end
    dense = dense_mesh(torus_and_plate, resolution, whole=False)
    found = found_mesh(torus_and_plate, resolution)
    assert len(found.faces) > 10_000
    assert torch.equal(found.faces, dense.faces)
    torch.testing.assert_close(found.vertices, dense.vertices, rtol=0, atol=2e-6)


@pytest.mark.parametrize("turbo", [False, True])
def test_it_is_the_dense_grids_surface_of_a_network(turbo: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit_surface, "COARSEST", 8)
    decoder = ball_decoder(DECODER_PARAMS | (TURBO_PARAMS if turbo else {}))
    with torch.inference_mode():
        latent = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
        context = decoder.prepare(decoder.decode(latent))
        dense, found = (make(lambda points: decoder.logits(points, context), 33) for make in (dense_mesh, found_mesh))
    assert len(found.faces) > 2_000 and torch.equal(found.faces, dense.faces)
    torch.testing.assert_close(found.vertices, dense.vertices, rtol=0, atol=2e-5)


def test_few_points_are_asked_and_each_once() -> None:
    asked: list[Tensor] = []

    def field(points: Tensor) -> Tensor:
        asked.append(points)
        return torus_and_plate(points)

    steps: list[StepInfo] = []
    mesh = found_mesh(field, 128, Progress(steps.append))
    points = torch.cat(asked)
    assert len(points) < 129**3 / 3
    places = ((points + 1.01) * 128 / 2.02).round().long()
    assert len(places.unique(dim=0)) == len(places)
    assert [(info.stage, info.step, info.total) for info in steps] == [(Stage.SURFACE, 1, 2), (Stage.SURFACE, 2, 2)]
    assert float(mesh.vertices.abs().amax()) < 1.01


def test_faces_look_outwards() -> None:
    mesh = found_mesh(lambda points: 0.5 - points.norm(dim=1), 64)
    a, b, c = mesh.vertices[mesh.faces.long()].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    assert float(volume) == pytest.approx(4 / 3 * math.pi * 0.125, rel=1e-2)


def test_a_field_without_a_surface_and_one_that_is_exactly_zero() -> None:
    assert len(found_mesh(lambda points: points[:, 0] * 0 - 1, 64).faces) == 0
    assert len(found_mesh(lambda points: points[:, 0] * 0, 64).faces) == 0


def test_a_surface_through_nodes_has_no_holes() -> None:
    """Logits of exactly 0 count as outside, in whichever cells they are summed."""
    resolution = 75
    field = lambda points: 1 - (points * resolution / 2.02).round().abs().amax(1) / 20  # noqa: E731
    mesh = found_mesh(field, resolution)
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(1).values
    assert len(mesh.faces) > 0 and bool((edges.unique(dim=0, return_counts=True)[1] == 2).all())


@pytest.mark.parametrize("resolution", [63, 513])
def test_resolutions_that_are_refused(resolution: int) -> None:
    with pytest.raises(InvalidInputError, match="64 to 512"):
        found_mesh(torus_and_plate, resolution)


def test_a_wish_to_stop_is_heard_between_levels() -> None:
    token = CancelToken()

    def field(points: Tensor) -> Tensor:
        token.cancel()
        return torus_and_plate(points)

    with pytest.raises(Cancelled):
        found_mesh(field, 128, Progress(cancel=token))
