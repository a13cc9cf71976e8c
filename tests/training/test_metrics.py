"""The metrics on shapes whose scores can be worked out by hand."""

import math

import pytest
import torch

from trellis.representations import Mesh
from trellis.training import baselines, metrics


def plane(height: float) -> torch.Tensor:
    """Points of a 20 x 20 grid in the unit square at one height."""
    line = (torch.arange(20) + 0.5) / 20
    x, y = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, height)], -1).reshape(-1, 3)


def test_distance_of_parallel_planes() -> None:
    assert metrics.chamfer_and_f_score(plane(0), plane(0)) == pytest.approx((0, 1), abs=1e-4)
    assert metrics.chamfer_and_f_score(plane(0.03), plane(0)) == pytest.approx((0.03, 1), abs=1e-5)
    assert metrics.chamfer_and_f_score(plane(0.06), plane(0)) == pytest.approx((0.06, 0), abs=1e-5)


def test_missing_and_extra_parts() -> None:
    half = plane(0)[:200]
    # All that is there is right, half of the truth is there.
    recall = 200 / 400
    chamfer, f_score = metrics.chamfer_and_f_score(half, plane(0), distance=0.02)
    assert f_score == pytest.approx(2 * recall / (1 + recall))
    assert metrics.chamfer_and_f_score(plane(0), half, distance=0.02) == pytest.approx((chamfer, f_score))
    # Rows 1 to 10 beyond the edge are 0.05 to 0.5 away, in one of the two directions.
    assert chamfer == pytest.approx(0.5 * 0.5 * 0.275, rel=1e-3)
    assert metrics.chamfer_and_f_score(half[:0], half) == (math.inf, 0.0)


def test_overlap_of_grids() -> None:
    found, truth = torch.zeros(3, 4, 4, 4, dtype=torch.bool), torch.zeros(3, 4, 4, 4, dtype=torch.bool)
    found[0, :2], truth[0, 1:3] = True, True
    found[1], truth[1] = True, True
    assert metrics.voxel_iou(found, truth).tolist() == pytest.approx([1 / 3, 1, 1])
    assert metrics.mask_iou(found[0].float(), truth[0].float() * 0.4) == 0


def test_signal_to_noise() -> None:
    image = torch.full((3, 8, 8), 0.5)
    assert metrics.psnr(image + 0.1, image) == pytest.approx(20, abs=1e-3)
    assert metrics.psnr(image, image) == pytest.approx(100)


def test_mesh_points_are_even_by_area() -> None:
    """A triangle with three quarters of the area takes three quarters of the points, evenly."""
    vertices = torch.tensor([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1], [1, 0, 1], [0, 3, 1]]).float()
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32))
    points = metrics.sample_mesh(mesh, count=40_000, generator=torch.Generator().manual_seed(0))
    large = points[points[:, 2] < 0.5]
    assert len(large) / len(points) == pytest.approx(0.75, abs=0.01)
    assert float((points[:, 2] - points[:, 2].round()).abs().max()) < 1e-6
    assert torch.allclose(large.mean(0), torch.tensor([1.0, 1.0, 0.0]), atol=0.02)
    assert bool((large[:, 0] + large[:, 1] <= 3 + 1e-5).all())
    empty = Mesh(vertices, torch.zeros(0, 3, dtype=torch.int32))
    assert metrics.sample_mesh(empty, generator=torch.Generator()).shape == (0, 3)


def test_extruded_silhouette_is_the_box_of_a_rectangle() -> None:
    mask = torch.zeros(64, 64)
    mask[16:48, 24:40] = 1  # 32 high, 16 wide: a box of 0.5 x 0.25 x 1
    points = baselines.extruded_silhouette(mask, seed=0, count=4000)
    assert points.shape == (4000, 3)
    sides = torch.tensor([0.25, 0.125, 0.5])
    assert torch.allclose(points.amax(0), sides, atol=0.01) and torch.allclose(points.amin(0), -sides, atol=0.01)
    assert float(((points.abs() - sides).abs().amin(1)).max()) < 1e-5, "every point is on a side"
    front = float(((points[:, 1].abs() - 0.125).abs() < 1e-6).float().mean())
    assert front == pytest.approx(2 * 0.5 / (2 * 0.5 + 2 * 0.25 + 2 * 0.125), abs=0.03)


def test_nearest_object_is_itself() -> None:
    vectors = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    assert baselines.nearest(vectors[[4, 0, 8]] + 0.01, vectors) == [4, 0, 8]
