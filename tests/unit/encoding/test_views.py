"""Pictures of loaded meshes, and features of pictures gathered on voxels."""

import math
from dataclasses import replace

import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import source, sphere
from trellis.conditioning import ImageEncoder
from trellis.conditioning.dinov2 import Dinov2, Dinov2Config
from trellis.dataset.pictures import studio_pictures
from trellis.encoding.lights import studio_light
from trellis.encoding.source_mesh import Material, Texture
from trellis.encoding.views import patch_features, project_features, render_views, view_features
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import multiview_cameras, orbit_cameras

FRONT = orbit_cameras([math.pi], [0.0])


def tiny_encoder() -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(Dinov2(Dinov2Config(12, 1, 2, image_size=28, num_register_tokens=4)).eval())


def test_a_cube_from_the_front() -> None:
    """Each face has its colour; the front (-y) is seen upright, filling what perspective says."""
    shape = trimesh.creation.box([0.5, 0.5, 0.5])
    mesh = source(shape)
    front = torch.from_numpy(shape.face_normals.copy())[:, 1] < -0.5
    mesh = replace(
        mesh, face_materials=front.long(), materials=(Material((0.0, 0.0, 1.0, 1.0)), Material((1.0, 0.25, 0.0, 1.0)))
    )
    images = render_views(mesh, FRONT, size=64)
    width = 0.5 / 1.75 * 0.5 / math.tan(math.radians(20))
    assert images.alpha.sum().item() / 64**2 == pytest.approx(width**2, rel=0.05)
    assert images.color[0, :, 32, 32].tolist() == pytest.approx([1, 0.5371, 0], abs=1e-3)  # sRGB of 0.25
    assert images.color[0, :, 2, 2].tolist() == [0, 0, 0] and images.alpha[0, 2, 2] == 0
    assert images.normal[0, :, 32, 32].tolist() == pytest.approx([0.5, 0, 0.5], abs=1e-6)
    assert torch.equal(images.normal[0, :, 2, 2], torch.full((3,), 0.5))


def test_studio_lights_come_from_above_and_below() -> None:
    """Numbers by hand: Cycles' point light of 1000 W at (4, 1, 6), a bright sky, an area below."""
    lit = studio_light(torch.zeros(3, 3), torch.tensor([[0.0, 0, 1], [0, 0, -1], [-1, 0, 0]]))[:, 0].tolist()
    point = 1000 / (4 * math.pi**2) / 53 * 6 / math.sqrt(53)
    assert lit == pytest.approx([point + 0.25, 2.5 / math.pi, 0.125], rel=1e-4)


def test_studio_pictures_take_the_normals_of_corners() -> None:
    """With the normals of the sphere itself facets disappear; inverted ones are turned to the face's side."""
    mesh = source(sphere(1))
    above = orbit_cameras([0.0], [1.2])
    flat = render_views(mesh, above, size=48, shading="studio").color
    corners = torch.nn.functional.normalize(mesh.corners(), dim=2)
    smooth = render_views(replace(mesh, normals=corners), above, size=48, shading="studio").color
    true = render_views(source(sphere(5)), above, size=48, shading="studio").color
    wrong = [(image - true)[0, :, 18:30, 18:30].abs().mean().item() for image in (smooth, flat)]
    assert wrong[0] < 0.3 * wrong[1]
    inverted = render_views(replace(mesh, normals=-corners), above, size=48, shading="studio").color
    assert torch.allclose(inverted, smooth, atol=1e-5)
    none = render_views(replace(mesh, normals=torch.zeros_like(corners)), above, size=48, shading="studio").color
    assert torch.allclose(none, flat, atol=1e-5)


def test_studio_pictures_are_those_of_the_reference() -> None:
    """Textures with every wrapping, each kind of alpha, colours of vertices, normals of corners."""
    shape = sphere(3)
    draws = torch.Generator().manual_seed(0)
    mesh = source(shape)
    corners = torch.nn.functional.normalize(mesh.corners(), dim=2)
    corners[::5] = 0  # the file states none
    pixels = torch.randint(0, 256, (5, 7, 4), dtype=torch.uint8, generator=draws)
    mesh = replace(
        mesh,
        uvs=6 * torch.rand(len(mesh.vertices), 2, generator=draws) - 3,
        vertex_colors=torch.rand(len(mesh.vertices), 4, generator=draws) + 0.2,
        face_materials=torch.randint(0, 4, (len(mesh.faces),), generator=draws),
        materials=(
            Material((0.5, 1.0, 0.2, 1.0), 0),
            Material((1.0, 1.0, 1.0, 0.9), 1, "blend"),
            Material(texture=2, alpha_mode="mask"),
            Material((0.0, 0.1, 0.9, 0.3), alpha_mode="blend"),
        ),
        textures=(
            Texture(pixels),
            Texture(pixels[:, :3], ("mirror", "clamp")),
            Texture(pixels[:3], ("clamp", "mirror")),
        ),
        normals=corners,
    )
    cameras = multiview_cameras(3, "")
    for shown in (mesh, replace(mesh, normals=None)):
        found = torch.stack(list(studio_pictures(shown, cameras, size=48))).int()
        views = render_views(shown, cameras, size=48, supersampling=1, shading="studio")
        plain = torch.where(views.alpha > 0, views.color.transpose(0, 1) / views.alpha.clamp_min(1e-6), 0.0)
        wanted = (torch.cat([plain, views.alpha[None]]).clamp(0, 1) * 255).round().int().permute(1, 2, 3, 0)
        away = (found - wanted).abs()
        assert away.max() <= 1 and (away > 0).float().mean() < 1e-3
        assert (wanted[..., 3] > 0).float().mean() > 0.1 and wanted[wanted[..., 3] > 0].float().std() > 40


def test_transparent_surfaces_are_premultiplied() -> None:
    mesh = replace(source(sphere(3)), materials=(Material((1.0, 1.0, 1.0, 0.5), alpha_mode="blend"),))
    images = render_views(mesh, FRONT, size=32)
    assert images.alpha[0, 16, 16].item() == pytest.approx(0.5) == images.color[0, 0, 16, 16].item()


def test_points_find_their_place_in_the_pictures() -> None:
    """Feature maps that hold their own pixel coordinates give each point's projection, for every camera."""
    cameras = multiview_cameras(5, "")
    line = (torch.arange(20) + 0.5) / 20
    v, u = torch.meshgrid(line, line, indexing="ij")
    features = torch.stack([u, v]).expand(5, 2, 20, 20)
    points = 0.4 * (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    for index in range(5):
        camera = cameras[index : index + 1]
        values = project_features(features[:1], camera, points)
        local = points @ camera.extrinsics[0, :3, :3].T + camera.extrinsics[0, :3, 3]
        expected = local[:, :2] / local[:, 2:] * camera.intrinsics[0, 0, 0] + 0.5
        assert torch.allclose(values, expected, atol=1e-5)
    assert project_features(features, cameras, points).shape == (50, 2)


def test_points_out_of_the_frame_have_no_features() -> None:
    values = project_features(torch.ones(1, 3, 4, 4), FRONT, torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [0, 0, -1]]))
    assert values.tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_patches_are_in_reading_order() -> None:
    """A picture that changes in one corner changes the features of that corner's patch most."""
    encoder = tiny_encoder()
    plain, marked = torch.zeros(1, 3, 28, 28), torch.zeros(1, 3, 28, 28)
    marked[..., :14, 14:] = 1
    with torch.no_grad():
        change = (patch_features(encoder, marked) - patch_features(encoder, plain)).norm(dim=1)[0]
    assert change.shape == (2, 2) and change.argmax() == 1
    with torch.no_grad():
        normed = torch.nn.functional.layer_norm(patch_features(encoder, marked).flatten(2).transpose(1, 2), (12,))
        assert torch.allclose(normed, encoder(marked)[:, 5:], atol=1e-5)


def test_mean_over_views() -> None:
    """One view at a time is the same as the mean of all at once."""
    mesh, encoder = source(sphere(3)), tiny_encoder()
    coords = torch.tensor([[8, 8, 2], [3, 8, 8], [8, 13, 8]])
    with torch.no_grad():
        found = view_features(mesh, coords, encoder, resolution=16, views=6)
        cameras = multiview_cameras(6, "")
        pictures = render_views(mesh, cameras, size=28, shading="studio").color
        sums = project_features(patch_features(encoder, pictures), cameras, (coords + 0.5) / 16 - 0.5)
    assert torch.allclose(found, sums / 6, atol=1e-5) and found.std(0).mean() > 1e-4


def test_closed_sets() -> None:
    mesh, encoder = source(sphere(1)), tiny_encoder()
    with pytest.raises(InvalidInputError, match="none, studio"):
        render_views(mesh, FRONT, size=8, shading="sun")
    with pytest.raises(InvalidInputError, match="1 to 8"):
        render_views(mesh, FRONT, size=8, supersampling=9)
    with pytest.raises(InvalidInputError, match="28 pixels"):
        patch_features(encoder, torch.zeros(1, 3, 14, 14))
    with pytest.raises(InvalidInputError, match="one view"):
        view_features(mesh, torch.zeros(1, 3), encoder, resolution=16, views=0)
