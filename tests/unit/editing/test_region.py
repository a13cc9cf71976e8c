"""Regions as voxels: boxes off the grid, at its rim, of one voxel, several; voxels; the inside of a mesh file."""

from pathlib import Path

import pytest
import torch

from tests.unit.export.shapes import sphere
from trellis.editing.boxes import Box
from trellis.editing.region import Region
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.export.ply import write_mesh_ply
from trellis.geometry.similarity import Similarity

SIDE = 32
HALF = (0.5, 0.5, 0.5)
LOW = (-0.5, -0.5, -0.5)


def mask(*boxes: Box, to_cube: Similarity | None = None) -> torch.Tensor:
    return Region(boxes).mask(SIDE, to_cube=to_cube or Similarity())


def test_a_box_is_in_the_frame_of_the_glb_y_up_and_front_towards_z() -> None:
    found = mask(Box((-0.5, 0.25, 0.0), HALF))  # the upper quarter, its front half
    expected = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    expected[:, :16, 24:] = True  # world: front is -y, up is z
    assert torch.equal(found, expected)


def test_voxels_count_whose_centre_is_inside() -> None:
    step = 1 / SIDE
    assert int(mask(Box(LOW, (-0.5 + 0.49 * step, 0.5, 0.5)), Box((0, 0, 0), (step, step, step))).sum()) == 1
    assert int(mask(Box(LOW, (-0.5 + 0.51 * step, 0.5, 0.5))).sum()) == SIDE**2
    assert bool(mask(Box(LOW, HALF)).all()), "a box that touches the cube holds all of it"


def test_a_box_that_ends_at_the_object_holds_the_voxels_that_stand_out_there() -> None:
    step, occupied = 1 / SIDE, torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    occupied[4:28, 4:28, 4:28] = True  # centres from -0.359 to 0.359
    boxes = [Box((-0.5, 0.1, -0.5), (0.5, 0.359375 - share * step, 0.5)) for share in (0.49, 0.51)]
    whole, cut = (Region((box,)).mask(SIDE, to_cube=Similarity(), occupied=occupied) for box in boxes)
    assert bool(whole[4:28, 4:28, 27].all()) and not bool(whole[..., 28:].any())
    assert torch.equal(cut, mask(boxes[1])) and not bool(cut[..., 27].any())
    half = Similarity(0.5)  # a world twice as large
    lower = Region((Box((-1, 2 * (-0.359375 + 0.49 * step), -1), (1, 0.2, 1)),))
    assert bool(lower.mask(SIDE, to_cube=half, occupied=occupied)[..., 4].all())
    assert not bool(lower.mask(SIDE, to_cube=half)[..., 4].any())


def test_two_boxes_are_one_region() -> None:
    one, other = Box(LOW, (-0.3, -0.3, -0.3)), Box((0.3, 0.3, 0.3), HALF)
    assert torch.equal(mask(one, other), mask(one) | mask(other))


def test_a_source_of_any_size_has_the_same_region() -> None:
    to_cube = Similarity(0.01, (0.1, -0.2, 0.05))
    inverse = to_cube.inverse()
    corners = inverse.apply(torch.tensor([[-0.25, -0.1, 0.0], [0.25, 0.3, 0.4]], dtype=torch.float64))
    (x, y, z), (u, v, w) = corners.tolist()
    there = mask(Box((x, z, -v), (u, w, -y)), to_cube=to_cube)
    assert torch.equal(there, mask(Box((-0.25, 0.0, -0.3), (0.25, 0.4, 0.1))))


@pytest.mark.parametrize("low", [(0.6, 0.6, 0.6), (0.0001, 0.0001, 0.0001)])
def test_a_region_without_a_voxel_is_refused(low: tuple[float, float, float]) -> None:
    high = tuple(value + 0.01 for value in low)
    with pytest.raises(InvalidInputError, match="no voxel") as found:
        mask(Box(low, high))
    assert found.value.field == "box"


def test_boxes_upside_down_and_too_many_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="lower to a higher"):
        Box((0, 0, 0), (1, 0, 1))
    with pytest.raises(InvalidInputError, match="at most 32"):
        Region((Box(LOW, HALF),) * 33)


def test_voxels_are_a_region_and_others_than_the_grids_are_refused() -> None:
    found = Region.of(torch.tensor([[0, 1, 2], [31, 31, 31]])).mask(SIDE, to_cube=Similarity())
    assert found.nonzero().tolist() == [[0, 1, 2], [31, 31, 31]]
    with pytest.raises(InvalidInputError, match="0 to 31"):
        Region.of(torch.tensor([[0, 1, 32]])).mask(SIDE, to_cube=Similarity())


def test_the_inside_of_a_closed_mesh_file_is_a_region(tmp_path: Path) -> None:
    path = write_mesh_ply(sphere(3), tmp_path / "ball.ply")
    found = Region.of(path).mask(SIDE, to_cube=Similarity())
    radius = float(sphere(3).vertices.norm(dim=1).max())
    centres = (found.nonzero() + 0.5) / SIDE - 0.5
    assert float(centres.norm(dim=1).max()) <= radius
    assert int(found.sum()) == pytest.approx(4 / 3 * torch.pi * radius**3 * SIDE**3, rel=0.06)


def test_an_open_mesh_is_no_region() -> None:
    ball = sphere(2)
    opened = SourceMesh.from_mesh(type(ball)(ball.vertices, ball.faces[3:]))
    with pytest.raises(InvalidInputError, match="not closed"):
        Region(mesh=opened)


def test_what_reaches_out_of_the_cube_is_known() -> None:
    assert not Region((Box(LOW, HALF),)).reaches_out(to_cube=Similarity())
    assert Region((Box(LOW, (0.5, 0.6, 0.5)),)).reaches_out(to_cube=Similarity())
