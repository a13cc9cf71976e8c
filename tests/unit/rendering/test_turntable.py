import numpy as np
import pytest
import torch

from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.rendering import TurntableConfig, turntable
from trellis.representations import GaussianCloud, Mesh


def tetrahedron() -> Mesh:
    vertices = torch.tensor([[0.3, 0.3, 0.3], [-0.3, -0.3, 0.3], [-0.3, 0.3, -0.3], [0.3, -0.3, -0.3]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], dtype=torch.int32)
    return Mesh(vertices, faces, torch.rand(4, 3, generator=torch.Generator().manual_seed(1)))


def cloud() -> GaussianCloud:
    g = torch.Generator().manual_seed(0)
    rotations = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(200, 1)
    positions = 0.1 * torch.randn(200, 3, generator=g)
    features, scales = torch.rand(200, 3, generator=g), torch.full((200, 3), 0.02)
    return GaussianCloud(positions, features, scales, rotations, torch.ones(200, 1))


def test_frames_hold_the_sides_in_order() -> None:
    config = TurntableConfig(sides=("normals", "gaussians", "colors"), size=32, frames=5, cameras_at_once=2)
    heard: list[StepInfo] = []
    frames = list(turntable(gaussians=cloud(), mesh=tetrahedron(), config=config, progress=Progress(heard.append)))
    assert len(frames) == 5
    assert all(frame.shape == (32, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    assert [(info.step, info.total) for info in heard] == [(i, 5) for i in range(1, 6)]
    assert not np.array_equal(frames[0], frames[2])
    alone = next(turntable(mesh=tetrahedron(), config=TurntableConfig(sides=("colors",), size=32, frames=5)))
    assert np.array_equal(alone, frames[0][:, 64:])


@pytest.mark.parametrize(("background", "level"), [("black", 0), ("white", 255), ("grey", 128)])
def test_every_side_has_the_background(background: str, level: int) -> None:
    sides = ("gaussians", "normals", "colors")
    config = TurntableConfig(sides=sides, size=32, frames=1, background=background)
    frame = next(turntable(gaussians=cloud(), mesh=tetrahedron(), config=config))
    for index in range(3):
        picture = frame[:, 32 * index : 32 * index + 32]
        assert (picture[0, 0] == level).all() and (picture[16, 16] != level).any()


def test_cancelling_stops_between_frames() -> None:
    token = CancelToken()
    config = TurntableConfig(sides=("normals",), size=32, frames=50)
    frames = turntable(mesh=tetrahedron(), config=config, progress=Progress(cancel=token))
    next(frames)
    token.cancel()
    with pytest.raises(Cancelled):
        next(frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sides": ("wireframe",)}, "gaussians, radiance_field, normals, colors"),
        ({"sides": ()}, "one or more"),
        ({"size": 100}, "multiple of 16"),
        ({"frames": 0}, "at least one frame"),
        ({"background": "pink"}, "black, white, grey"),
        ({"backend": "opengl"}, "auto, reference, warp"),
    ],
)
def test_unusable_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TurntableConfig(**options)


def test_a_side_without_its_representation_is_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="gaussians"):
        turntable(mesh=tetrahedron())
