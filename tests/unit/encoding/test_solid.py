"""Inside and outside, distances and normals: spheres in every disorder must give the same exact field."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import source, sphere
from trellis.encoding import solid
from trellis.encoding.local_features import shell_voxels
from trellis.encoding.orientation import is_closed, outward_faces
from trellis.encoding.solid import PLATE, WALL, SolidField
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.ops.winding_number import inside_query
from trellis.progress import CancelToken, Progress

RADIUS, RESOLUTION = 0.4, 16
SAG = 1e-3  # of the faces of the icosphere below the sphere


def points(count: int = 1500) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5


def with_faces(shape: trimesh.Trimesh, faces: np.ndarray) -> SourceMesh:
    return source(trimesh.Trimesh(shape.vertices, faces, process=False))


def disorder(name: str) -> SourceMesh:
    shape = sphere(radius=RADIUS)
    faces = np.array(shape.faces)
    turned = np.random.default_rng(0).random(len(faces)) < 0.5
    mixed = np.where(turned[:, None], faces[:, ::-1], faces)
    if name == "plain":
        return source(shape)
    if name == "inward":
        return with_faces(shape, faces[:, ::-1])
    if name == "mixed":
        return with_faces(shape, mixed)
    if name == "hidden shells":
        inner = sphere(2, radius=0.25)
        return source(trimesh.util.concatenate([shape, inner, sphere(2, radius=0.1, center=(0.1, 0, 0))]))
    if name == "twice":
        return source(trimesh.util.concatenate([shape, shape]))
    assert name == "unconnected faces"
    # Each face shrunk a little about its middle: no edge is shared, and thin gaps run everywhere.
    corners = np.asarray(shape.triangles)
    corners = corners.mean(1, keepdims=True) * 0.005 + corners * 0.995
    order = np.arange(3 * len(corners)).reshape(-1, 3)
    order = np.where(turned[:, None], order[:, ::-1], order)
    return source(trimesh.Trimesh(corners.reshape(-1, 3), order, process=False))


NAMES = ["plain", "inward", "mixed", "hidden shells", "twice"]


@pytest.mark.parametrize("name", NAMES)
def test_distances_and_normals_of_a_sphere(name: str) -> None:
    field = SolidField.create(disorder(name), resolution=RESOLUTION)
    found = field.sample(points())
    radii = points().norm(dim=1)
    assert (found.distance - (radii - RADIUS)).abs().max() < SAG
    near = radii > 0.1
    assert ((found.normal * points()).sum(1) / radii)[near].min() > 0.998
    assert torch.equal(
        field.inside(points())[(radii - RADIUS).abs() > SAG], (radii < RADIUS)[(radii - RADIUS).abs() > SAG]
    )


def test_faces_that_share_nothing_are_told_apart_by_what_they_enclose() -> None:
    field = SolidField.create(disorder("unconnected faces"), resolution=RESOLUTION)
    assert field.nearest is not None  # winding numbers are of no use here
    found = field.sample(points())
    radii = points().norm(dim=1)
    wrong = (found.distance - (radii - RADIUS)).abs() > 0.02
    sure = (radii - RADIUS).abs() > 1.5 * field.cell
    assert not (wrong & sure).any()
    assert wrong.float().mean() < 0.02


def test_shell_of_a_sphere_is_the_training_datas_shell() -> None:
    line = (torch.arange(32) + 0.5) / 32 - 0.5
    centres = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
    distance = (centres.norm(dim=-1) - RADIUS).abs()
    found = shell_voxels(SolidField.create(source(sphere(5, radius=RADIUS)), resolution=32))
    dense = torch.zeros(32, 32, 32, dtype=torch.bool)
    dense[tuple(found.long().unbind(1))] = True
    certain = (distance - 0.87 / 32).abs() > 3e-4
    assert torch.equal(dense[certain], (distance < 0.87 / 32)[certain])
    assert dense.sum() > 3000


def test_overlapping_parts_are_one_solid() -> None:
    left, right = (sphere(radius=0.3, center=(x, 0, 0)) for x in (-0.12, 0.12))
    field = SolidField.create(source(trimesh.util.concatenate([left, right])), resolution=RESOLUTION)
    shift = torch.tensor([0.12, 0, 0])
    exact = torch.minimum((points() + shift).norm(dim=1), (points() - shift).norm(dim=1)) - 0.3
    found = field.sample(points()).distance
    outside = exact > SAG
    assert (found - exact)[outside].abs().max() < SAG
    assert (found[exact < -SAG] < 0).all()
    assert len(field.mesh.faces) < 0.85 * 2 * len(left.faces)  # faces within the other sphere are gone
    seam = torch.tensor([[0.0, 0.0, 0.0]])  # deep inside, though faces of neither sphere are far
    assert field.sample(seam).distance.item() == pytest.approx(-0.27, abs=2 * field.cell)


def test_an_open_bowl_is_a_wall_and_not_filled() -> None:
    """A sphere without its top: outside nothing moves, and within the wall ends a voxel from the surface."""
    shape = sphere(radius=RADIUS)
    bowl = with_faces(shape, np.array(shape.faces)[shape.triangles_center[:, 2] < 0.2])
    field = SolidField.create(bowl, resolution=RESOLUTION)
    assert not field.closed
    outside = points()[points().norm(dim=1) > RADIUS + 0.03]
    assert (field.sample(outside).distance > 0).all()
    depths = torch.tensor([-0.02, 0.01, 0.04, 0.08, 0.12])  # from the outside to the middle
    places = torch.stack([torch.full((5,), 1e-4), torch.zeros(5), depths - RADIUS], 1)
    found = field.sample(places)
    assert torch.allclose(found.distance, torch.maximum(-depths, depths - WALL * field.voxel), atol=2 * SAG)
    assert torch.equal(found.normal[:, 2].sign(), torch.tensor([-1.0, -1.0, 1.0, 1.0, 1.0]))
    assert field.inside(places).tolist()[1:] == [True, True, False, False]


def test_cells_between_equal_ones_need_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells are inside of an open bowl as when every one is asked, for a third of the questions."""
    asked = [0]

    def counted(vertices: torch.Tensor, faces: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        inside = inside_query(vertices, faces)

        def ask(points: torch.Tensor) -> torch.Tensor:
            asked[0] += len(points)
            return inside(points)

        return ask

    shape = sphere(radius=RADIUS)
    bowl = with_faces(shape, np.array(shape.faces)[shape.triangles_center[:, 2] < 0.2])
    monkeypatch.setattr(solid, "inside_query", counted)
    found, counts = [], []
    for strides in (solid._STRIDES, (1,)):
        monkeypatch.setattr(solid, "_STRIDES", strides)
        asked[0] = 0
        field = SolidField.create(bowl, resolution=RESOLUTION)
        found.append(field.cells)
        counts.append(asked[0])
    assert (found[0] == solid._WALL).any() and (found[0] == solid._OPEN).any()
    assert torch.equal(*found)
    assert counts[0] < 0.4 * counts[1], counts


def test_a_solid_with_small_holes_stays_filled() -> None:
    shape = sphere(radius=RADIUS)
    kept = np.linalg.norm(shape.triangles_center - [0, 0, RADIUS], axis=1) > 0.8 / RESOLUTION
    field = SolidField.create(with_faces(shape, np.array(shape.faces)[kept]), resolution=RESOLUTION)
    assert (~kept).sum() > 0 and not field.closed
    assert field.sample(torch.tensor([[0.0, 0.0, -0.3], [0.0, 0.0, 0.3]])).distance.max() < -0.09


def test_a_sheet_becomes_a_thin_plate() -> None:
    corners = [[-0.4, -0.4, 0.003], [0.4, -0.4, 0.003], [0.4, 0.4, 0.003], [-0.4, 0.4, 0.003]]
    sheet = source(trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False))
    field = SolidField.create(sheet, resolution=RESOLUTION)
    heights = torch.tensor([0.1, -0.1, 0.002, -0.002])
    found = field.sample(torch.stack([torch.zeros(4), torch.zeros(4), heights + 0.003], 1))
    assert torch.allclose(found.distance, heights.abs() - PLATE / RESOLUTION, atol=1e-5)
    assert torch.allclose(found.normal[:, 2], heights.sign(), atol=1e-4)
    assert len(shell_voxels(field)) >= 12 * 12


@pytest.mark.parametrize("thickness", [0.001, 0.004])
def test_a_thin_solid_is_thickened_and_a_thick_one_is_not(thickness: float) -> None:
    def distances(height: float) -> tuple[SolidField, torch.Tensor]:
        plate = trimesh.creation.box([0.8, 0.6, height])
        field = SolidField.create(source(plate), resolution=RESOLUTION)
        heights = torch.tensor([0.1, 0.02, -0.02, -0.1])
        places = torch.stack([torch.full((4,), 0.01), torch.full((4,), 0.02), heights], 1)
        return field, field.sample(places).distance - (heights.abs() - height / 2)

    field, found = distances(thickness)
    assert field.closed and field.thin > 0.9
    near = 2 * field.voxel > 0.02
    assert near and torch.allclose(found[1:3], torch.full((2,), -0.5 * field.cell), atol=1e-5)
    field, found = distances(4 * field.cell)
    assert field.thin == 0 and torch.allclose(found, torch.zeros(4), atol=1e-5)


def test_orientation() -> None:
    shape = sphere(2)
    faces = torch.from_numpy(np.array(shape.faces))
    vertices = torch.from_numpy(np.array(shape.vertices))
    turned = torch.rand(len(faces), generator=torch.Generator().manual_seed(0)) < 0.4
    mixed = torch.where(turned[:, None], faces.flip(1), faces)
    assert is_closed(vertices, faces) and not is_closed(vertices, mixed)
    assert not is_closed(vertices, faces[1:])
    repaired = outward_faces(vertices, mixed)
    assert is_closed(vertices, repaired)
    assert trimesh.Trimesh(vertices, repaired, process=False).volume == pytest.approx(shape.volume)
    # Unwelded vertices count as one where they are at the same place.
    loose = vertices[mixed].reshape(-1, 3)
    order = torch.arange(len(loose)).reshape(-1, 3)
    assert trimesh.Trimesh(loose, outward_faces(loose, order), process=False).volume == pytest.approx(shape.volume)


def test_nothing_to_bound() -> None:
    flat = source(trimesh.Trimesh([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]], [[0, 1, 2]], process=False))
    with pytest.raises(InvalidInputError, match="no area"):
        SolidField.create(flat, resolution=8)


def test_cancelled() -> None:
    token = CancelToken()
    with pytest.raises(Cancelled):
        SolidField.create(disorder("plain"), resolution=8, progress=Progress(lambda _: token.cancel(), token))
