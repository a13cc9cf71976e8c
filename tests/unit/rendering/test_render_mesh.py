import math

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import orbit_cameras
from trellis.ops.rasterize import warp_meshes
from trellis.rendering.mesh import face_normals, rasterize_mesh, render_mesh
from trellis.representations import Mesh

BACKENDS = pytest.mark.parametrize("backend", ["reference", "warp"])


def sphere(n: int = 96, radius: float = 0.4) -> Mesh:
    """A sphere of rings, coloured by its normal, wound counter-clockwise seen from outside."""
    theta, phi = torch.meshgrid(torch.linspace(0, math.pi, n), torch.linspace(0, 2 * math.pi, n), indexing="ij")
    unit = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1).view(-1, 3)
    index = torch.arange(n * n).view(n, n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat([torch.stack([a, b, c], -1).view(-1, 3), torch.stack([a, c, d], -1).view(-1, 3)])
    return Mesh(unit * radius, faces.int(), 0.5 * unit + 0.5)


def square(y: float, color: float) -> Mesh:
    """A sheet facing the front (-y) that fills the middle of the image."""
    vertices = torch.tensor([[-0.3, y, -0.3], [0.3, y, -0.3], [0.3, y, 0.3], [-0.3, y, 0.3]])
    return Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32), torch.full((4, 3), color))


@BACKENDS
def test_sphere_has_its_silhouette_depth_and_normals(backend: str) -> None:
    size, distance, radius = 128, 2.0, 0.4
    images = render_mesh(sphere(), orbit_cameras([math.pi], [0.3]), size=size, supersampling=4, backend=backend)
    focal = 0.5 / math.tan(math.radians(20)) * size
    silhouette = math.pi * (focal * radius / math.sqrt(distance**2 - radius**2)) ** 2
    assert abs(images.mask[0].sum().item() / silhouette - 1) < 0.003
    assert abs(images.depth[0, 63:65, 63:65].mean().item() - (distance - radius)) < 1e-3
    solid = images.mask[0] == 1
    # Colours were set to the encoded normals, so both pictures show the same thing up to the size of a face.
    difference = (images.color[0] - images.normal[0]).abs()[:, solid]
    assert difference.max() < 0.04 and difference.mean() < 0.012
    towards_camera = torch.tensor([0.0, -math.cos(0.3), math.sin(0.3)])
    assert (images.normal[0, :, 64, 64] * 2 - 1) @ towards_camera > 0.998


@BACKENDS
def test_background_values(backend: str) -> None:
    images = render_mesh(sphere(24), orbit_cameras([0.0], [0.0]), size=32, backend=backend)
    corner = (0, slice(None), 0, 0)
    assert (images.color[corner] == 0).all() and torch.allclose(images.normal[corner], torch.tensor(0.5))
    assert images.depth[0, 0, 0] == 0 and images.mask[0, 0, 0] == 0


@BACKENDS
def test_the_nearer_sheet_hides_the_other(backend: str) -> None:
    near, far = square(-0.2, 0.9), square(0.2, 0.1)
    both = Mesh(
        torch.cat([far.vertices, near.vertices]),
        torch.cat([far.faces, near.faces + 4]),
        torch.cat([torch.full((4, 3), 0.1), torch.full((4, 3), 0.9)]),
    )
    images = render_mesh(both, orbit_cameras([math.pi, 0.0], [0.0, 0.0]), size=32, supersampling=1, backend=backend)
    assert torch.allclose(images.color[0, :, 16, 16], torch.tensor(0.9))
    assert torch.allclose(images.color[1, :, 16, 16], torch.tensor(0.1))
    assert torch.allclose(images.depth[:, 16, 16], torch.tensor(1.8), atol=1e-5)
    # World normals do not turn with the camera: (0, -1, 0) from the front and through the back face alike.
    assert torch.allclose(images.normal[:, :, 16, 16], torch.tensor([0.5, 0.0, 0.5]), atol=1e-6)


@BACKENDS
def test_perspective_correct_colours(backend: str) -> None:
    """A sheet tilted away: the colour seen is that of the point the ray meets."""
    vertices = torch.tensor([[-0.3, -0.4, -0.3], [0.3, -0.4, -0.3], [0.3, 0.4, 0.3], [-0.3, 0.4, 0.3]])
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), vertices + 0.5)
    camera = orbit_cameras([math.pi], [0.2])
    samples = rasterize_mesh(mesh, camera, size=64, backend=backend)
    images = render_mesh(mesh, camera, size=64, supersampling=1, backend=backend)
    at = (torch.arange(64) + 0.5) / 64
    focal = camera.intrinsics[0, 0, 0]
    rays = torch.stack([(at[None] - 0.5).expand(64, 64) / focal, (at[:, None] - 0.5).expand(64, 64) / focal], 2)
    seen = torch.cat([rays, torch.ones(64, 64, 1)], 2) * samples.depth[..., None]
    rotation, shift = camera.extrinsics[0, :3, :3], camera.extrinsics[0, :3, 3]
    world = (seen - shift) @ rotation
    difference = (images.color[0].permute(1, 2, 0) - 0.5 - world).abs()[samples.mask]
    assert samples.mask.sum() > 300 and difference.max() < 1e-5


def test_a_mesh_without_colours_and_an_empty_one() -> None:
    plain = sphere(16)
    images = render_mesh(Mesh(plain.vertices, plain.faces), orbit_cameras([0.0], [0.0]), size=32)
    assert (images.color == 0).all() and images.mask.sum() > 50
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 6))
    images = render_mesh(empty, orbit_cameras([0.0], [0.0]), size=32)
    assert (images.mask == 0).all() and torch.allclose(images.normal, torch.tensor(0.5))


def test_gradient_reaches_vertices_and_colours() -> None:
    mesh = sphere(16)
    assert mesh.attributes is not None
    vertices, attributes = mesh.vertices.clone().requires_grad_(), mesh.attributes.clone().requires_grad_()
    images = render_mesh(Mesh(vertices, mesh.faces, attributes), orbit_cameras([0.0], [0.0]), size=32)
    (images.normal.square().sum() + images.color.sum() + images.depth.sum()).backward()
    for tensor in (vertices, attributes):
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0


def test_unusable_options_are_named() -> None:
    with pytest.raises(InvalidInputError, match="supersampling 1 to 8"):
        render_mesh(sphere(8), orbit_cameras([0.0], [0.0]), size=32, supersampling=0)
    with pytest.raises(InvalidInputError, match="auto, reference, warp"):
        render_mesh(sphere(8), orbit_cameras([0.0], [0.0]), size=32, backend="best")


@pytest.mark.parametrize("supersampling", [1, 2, 3, 4])
@pytest.mark.parametrize("colored", [True, False])
def test_warp_pictures_equal_the_reference(supersampling: int, colored: bool) -> None:
    """Every channel, several cameras at once, the image's border included; samples on edges may fall to either side."""
    ball = sphere(40, radius=0.7)
    mesh = Mesh(ball.vertices, ball.faces, ball.attributes if colored else None)
    cameras = orbit_cameras([0.3, 2.0, 4.0], [0.3, -0.6, 1.4], radius=2.0)
    first, second = (
        render_mesh(mesh, cameras, size=50, supersampling=supersampling, backend=backend)
        for backend in ("reference", "warp")
    )
    assert 0.5 < first.mask.mean() < 0.95 and (first.mask[:, 0] > 0).any()
    for name in ("color", "normal", "depth", "mask"):
        difference = (getattr(first, name) - getattr(second, name)).abs()
        assert (difference > 2e-6).float().mean() < 0.002, name
    assert (second.color.std() > 0.1) == colored


def test_cameras_drawn_at_once_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's way of many cameras a launch, and threads of the CPU: the same bits as one camera alone."""
    ball, cameras = sphere(40), orbit_cameras([0.3, 2.0, 4.0], [0.3, -0.6, 1.4])
    assert ball.attributes is not None
    before = torch.get_num_threads()
    values = {"face_values": face_normals(ball), "vertex_values": ball.attributes}
    options = {"size": 80, "supersampling": 2, "limits": (0.01, 0.5), **values}
    pictures = []
    try:
        for threads, at_once in ((1, 1), (1, 2), (1, 3), (3, 1)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(warp_meshes, "cameras_at_once", lambda *_, n=at_once, **__: n)
            pictures.append(warp_meshes.draw_mesh(ball.vertices, ball.faces, cameras, **options))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(pictures[0], picture) for picture in pictures)
