"""Normal maps: the relief of a displaced sphere comes back on its simplified mesh, as a viewer would decode it."""

import numpy as np
import pytest
import torch

from tests.unit.export.shapes import sphere, textured_mesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.export.bake import FacingSurface, Texels, surface_texels
from trellis.export.normal_map import normal_map, texel_frames, to_tangent_space
from trellis.export.simplify import simplify
from trellis.export.surface import Surface, vertex_normals
from trellis.export.unwrap import Unwrapped, unwrap
from trellis.progress import CancelToken, Progress
from trellis.representations import Mesh

SIZE = 512


def displaced_sphere() -> Mesh:
    """A ball with waves 0.004 high: slopes of up to 20 degrees, gone when it is simplified."""
    ball = sphere(6)
    x, y, z = (ball.vertices * 60).unbind(1)
    height = 0.004 * torch.sin(x) * torch.sin(y + 1) * torch.sin(z + 2)
    return Mesh(ball.vertices * (1 + height[:, None] / 0.4), ball.faces)


@pytest.fixture(scope="module")
def baked() -> tuple[Mesh, Unwrapped, Texels, np.ndarray]:
    full = displaced_sphere()
    unwrapped = unwrap(Surface.from_mesh(simplify(sphere(4), faces=600)), SIZE)
    texels = surface_texels(unwrapped, SIZE)
    return full, unwrapped, texels, normal_map(texels, unwrapped, full)


def true_normals(full: Mesh, texels: Texels) -> torch.Tensor:
    smooth = torch.from_numpy(vertex_normals(Surface.from_mesh(full)).astype(np.float32))
    faces, weights = FacingSurface(full).nearest(texels.points, texels.normals)
    return torch.nn.functional.normalize((smooth[full.faces[faces].long()] * weights[..., None]).sum(1), dim=1)


def degrees(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.atan2(torch.linalg.cross(a, b).norm(dim=1), (a * b).sum(1)).rad2deg()


def decoded(image: np.ndarray, texels: Texels) -> torch.Tensor:
    return torch.from_numpy(image.reshape(-1, 3).astype(np.float32))[texels.index] / 255 * 2 - 1


def test_relief_comes_back_within_a_degree(baked):
    full, unwrapped, texels, image = baked
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    expected = true_normals(full, texels)
    assert degrees(texels.normals, expected).mean() > 5  # without the map the relief is gone
    local = decoded(image, texels)
    shown = torch.nn.functional.normalize((local[:, None] @ texel_frames(texels, unwrapped))[:, 0], dim=1)
    error = degrees(shown, expected)
    assert error.mean() < 0.4 and error.max() < 1


def test_viewers_that_derive_tangents_from_the_texture_see_the_relief_too(baked):
    """The frame of the glTF sample viewer: tangent along u in the plane of the face, bitangent up in the texture."""
    full, unwrapped, texels, image = baked
    corners = torch.from_numpy(unwrapped.vertices[unwrapped.faces]).float()
    flat = torch.from_numpy(unwrapped.uvs[unwrapped.faces]).float()
    edges, steps = corners[:, 1:] - corners[:, :1], flat[:, 1:] - flat[:, :1]
    area = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]
    along_u = (edges[:, 0] * steps[:, 1, 1:] - edges[:, 1] * steps[:, 0, 1:]) / area[:, None]
    along_v = (edges[:, 1] * steps[:, 0, :1] - edges[:, 0] * steps[:, 1, :1]) / area[:, None]
    face = face_of_texels(unwrapped, texels)
    normal = texels.normals
    tangent = torch.nn.functional.normalize(along_u[face] - normal * (normal * along_u[face]).sum(1, True), dim=1)
    up = torch.linalg.cross(normal, tangent)
    up = up * torch.where((up * along_v[face]).sum(1, keepdim=True) > 0, -1.0, 1.0)
    local = decoded(image, texels)
    shown = torch.nn.functional.normalize(local[:, :1] * tangent + local[:, 1:2] * up + local[:, 2:] * normal, dim=1)
    error = degrees(shown, true_normals(full, texels))
    assert error.mean() < 2 and error.quantile(0.99) < 6


def face_of_texels(unwrapped: Unwrapped, texels: Texels) -> torch.Tensor:
    mesh = Mesh(torch.from_numpy(unwrapped.vertices).float(), torch.from_numpy(unwrapped.faces).int())
    faces, _ = FacingSurface(mesh).nearest(texels.points, texels.normals)
    return faces


def test_a_map_of_the_mesh_itself_is_flat():
    ball = sphere(4)
    unwrapped = unwrap(Surface.from_mesh(ball), 256)
    texels = surface_texels(unwrapped, 256)
    image = normal_map(texels, unwrapped, ball)
    assert np.abs(image.astype(int) - (128, 128, 255)).max() <= 2


def test_coordinates_are_what_a_viewer_turns_back():
    generator = torch.Generator().manual_seed(0)
    frames = torch.eye(3) + 0.2 * torch.rand(100, 3, 3, generator=generator)
    normals = torch.nn.functional.normalize(frames[:, 2] + 0.3 * torch.rand(100, 3, generator=generator), dim=1)
    local = to_tangent_space(normals, frames)
    assert torch.allclose(local.norm(dim=1), torch.ones(100), atol=1e-5)
    shown = torch.nn.functional.normalize((local[:, None] @ frames)[:, 0], dim=1)
    assert degrees(shown, normals).max() < 0.05
    behind = to_tangent_space(-frames[:, 2], frames)
    assert (behind[:, 2] > 0).all() and torch.isfinite(behind).all()
    singular = to_tangent_space(normals, torch.zeros(100, 3, 3))
    assert torch.equal(singular, torch.tensor([0.0, 0, 1]).expand(100, 3))


def test_export_carries_the_map_on_request(baked):
    full = baked[0]
    colored = Mesh(full.vertices, full.faces, torch.full_like(full.vertices, 0.5))
    first = textured_mesh(colored, faces=600, normal_map=True)
    assert first.normal_map is not None and first.normal_map.shape == first.texture.shape
    assert first.normal_map.std(axis=(0, 1))[:2].min() > 5  # relief in red and green
    assert first.normal_map[..., 2].min() > 128  # never from behind
    again = textured_mesh(colored, faces=600, normal_map=True)
    assert again.normal_map is not None and np.array_equal(first.normal_map, again.normal_map)
    assert textured_mesh(colored, faces=600).normal_map is None


def test_baking_stops_on_cancel_and_names_an_empty_texture(baked):
    full, unwrapped, texels, _ = baked
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        normal_map(texels, unwrapped, full, progress=Progress(cancel=token))
    nothing = Texels(SIZE, texels.index[:0], texels.points[:0], texels.normals[:0])
    with pytest.raises(InvalidInputError, match="larger texture"):
        normal_map(nothing, unwrapped, full)
