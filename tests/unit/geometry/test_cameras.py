"""Cameras, rotations and axes."""

import math

import pytest
import torch

from trellis.geometry.axes import from_gltf_frame, to_gltf_frame, to_viewer_frame
from trellis.geometry.cameras import multiview_cameras, orbit_cameras, training_view_angles, turntable_cameras
from trellis.geometry.rotations import quaternion_multiply, quaternion_to_matrix


@pytest.mark.parametrize("pitch", [-math.pi / 2, -1.0, 0.0, 0.7, math.pi / 2])
def test_orbit_cameras_look_at_the_origin_upright(pitch: float) -> None:
    cameras = orbit_cameras([0.0, 1.0, 4.0], [pitch] * 3)
    rotation = cameras.extrinsics[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(3, -1, -1), atol=1e-6)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(3), atol=1e-6)
    assert torch.allclose(cameras.extrinsics[:, :3, 3], torch.tensor([0.0, 0.0, 2.0]).expand(3, -1), atol=1e-6)
    assert torch.allclose(cameras.positions.norm(dim=1), torch.full((3,), 2.0), atol=1e-6)
    assert (rotation[:, 1, 2] <= 1e-6).all()  # y points down
    assert torch.allclose(cameras.fov, torch.full((3,), math.radians(40)))


def test_turntable_starts_at_the_front() -> None:
    cameras = turntable_cameras(8)
    assert cameras.positions[0, 1] < -1.9
    assert len(cameras[2:5]) == 3
    assert len(list(cameras)) == 8


class Fixed:
    """Draws that are known."""

    def random(self) -> float:
        return 0.5


def test_a_quarter_looks_from_below() -> None:
    pitches = [pitch for _, pitch in training_view_angles(40, Fixed())]  # type: ignore[arg-type]
    assert sum(pitch < 0 for pitch in pitches) == 10
    yaw, pitch = training_view_angles(2, Fixed())[1]  # type: ignore[arg-type]
    assert math.isclose(pitch, math.acos(1 - 2 * (1.5 / 3 + 1 / 3)) - math.pi / 2) and math.isclose(yaw, -1.5 * math.pi)


def test_views_stand_two_away() -> None:
    cameras = multiview_cameras(5, "an object")
    assert torch.allclose(cameras.positions.norm(dim=1), torch.tensor(2.0), atol=1e-5)
    assert torch.allclose(torch.rad2deg(cameras.fov), torch.tensor(40.0), atol=1e-3)


def test_axis_maps_are_inverse_rotations() -> None:
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_gltf_frame(to_gltf_frame(points)), points)
    assert torch.equal(to_gltf_frame(to_viewer_frame(points)), points)
    assert to_gltf_frame(torch.tensor([0.0, -1.0, 0.0])).tolist() == [0.0, 0.0, 1.0]  # the front is +z


def test_quaternion_product_is_the_matrix_product() -> None:
    a, b = torch.nn.functional.normalize(torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    product = quaternion_to_matrix(quaternion_multiply(a, b))
    assert torch.allclose(product, quaternion_to_matrix(a) @ quaternion_to_matrix(b), atol=1e-6)
