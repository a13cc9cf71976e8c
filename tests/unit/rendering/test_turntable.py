import numpy as np
import pytest
import torch

from trellis.errors import Cancelled, InvalidInputError, MissingDependencyError
from trellis.geometry.cameras import turntable_cameras
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.rendering.turntable import TurntableConfig, turntable
from trellis.representations import GaussianCloud, Mesh, TexturedMesh


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


@pytest.mark.parametrize("at_once", [2, 8])
def test_frames_hold_the_sides_in_order(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.rendering.turntable._CPU_FRAMES", at_once)
    config = TurntableConfig(sides=("normals", "gaussians", "colors"), size=32, frames=5)
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
        ({"sides": ("wireframe",)}, "gaussians, radiance_field, normals, colors, textured"),
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


def textured() -> TexturedMesh:
    """The tetrahedron as the export hands it over: arrays, and one checked texture for all faces."""
    mesh = tetrahedron()
    corners = mesh.vertices[mesh.faces.long().flatten()].numpy()
    texture = np.zeros((8, 8, 3), dtype=np.uint8)
    texture[::2, ::2] = (255, 128, 0)
    return TexturedMesh(
        vertices=corners,
        normals=corners / np.linalg.norm(corners, axis=1, keepdims=True),
        uvs=np.tile(np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32), (4, 1)),
        faces=np.arange(12, dtype=np.int32).reshape(4, 3),
        texture=texture,
    )


def test_the_textured_mesh_is_a_side_of_its_own() -> None:
    shape = textured()
    config = TurntableConfig(sides=("normals", "textured"), size=32, frames=4, background="white")
    frame = list(turntable(mesh=tetrahedron(), textured=shape, config=config))[1]
    alone = render_textured_mesh(
        torch.from_numpy(shape.vertices),
        torch.from_numpy(shape.faces),
        uvs=torch.from_numpy(shape.uvs),
        texture=torch.from_numpy(shape.texture).float() / 255,
        cameras=turntable_cameras(4)[1:2],
        size=32,
        background="white",
    )
    picture = (alone.color[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert picture.std() > 40 and np.array_equal(frame[:, 32:], picture)
    with pytest.raises(InvalidInputError, match="textured"):
        turntable(mesh=tetrahedron(), config=config)


def test_a_back_end_for_one_kind_leaves_the_others_to_the_built_in_ones() -> None:
    options = {"sides": ("gaussians", "normals"), "size": 32, "frames": 1}
    expected = next(turntable(gaussians=cloud(), mesh=tetrahedron(), config=TurntableConfig(**options)))
    assert np.array_equal(
        expected,
        next(turntable(gaussians=cloud(), mesh=tetrahedron(), config=TurntableConfig(**options, backend="builtin"))),
    )
    for backend in ("gsplat", "nvdiffrast"):
        frames = turntable(gaussians=cloud(), mesh=tetrahedron(), config=TurntableConfig(**options, backend=backend))
        with pytest.raises(MissingDependencyError, match=backend):
            next(frames)
    only_mesh = TurntableConfig(sides=("normals",), size=32, frames=1, backend="gsplat")
    assert np.array_equal(next(turntable(mesh=tetrahedron(), config=only_mesh)), expected[:, 32:])
