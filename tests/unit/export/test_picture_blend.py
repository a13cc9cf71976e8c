"""The input picture on the texture: its camera is found, and its pixels land where it sees the surface, only there."""

import math

import numpy as np
import pytest
import torch

from tests.unit.export.shapes import joined, sphere, textured_mesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.export.bake import Texels, dilated, surface_texels, unwrapped_mesh
from trellis.export.picture_blend import blended_texture, laid_on
from trellis.export.picture_camera import ColoredMesh, estimate_camera
from trellis.export.surface import Surface
from trellis.export.unwrap import Unwrapped, unwrap
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.progress import CancelToken, Progress
from trellis.rendering.mesh import project_vertices, render_mesh
from trellis.representations import Mesh

SIZE, PICTURE = 256, 192
YAW, PITCH, FOV = math.pi + 0.5, 0.35, 32.0


def figure() -> Mesh:
    """Four coloured balls without any symmetry."""
    parts = []
    for center, radius, color in (
        ((0.0, 0.0, 0.0), 0.25, (0.8, 0.2, 0.2)),
        ((0.25, -0.05, 0.15), 0.15, (0.2, 0.7, 0.2)),
        ((-0.1, -0.1, 0.3), 0.14, (0.2, 0.3, 0.9)),
        ((-0.2, 0.2, -0.15), 0.12, (0.9, 0.8, 0.1)),
    ):
        ball = sphere(3, radius=radius, center=center)
        parts.append(Mesh(ball.vertices, ball.faces, torch.tensor(color).expand(len(ball.vertices), 3).contiguous()))
    return joined(*parts)


def framed(cameras: Cameras, mesh: Mesh) -> Cameras:
    """The camera narrowed to 1.2 times the box about the mesh, as `frame_object` cuts a picture."""
    flat = project_vertices(mesh.vertices, cameras.extrinsics[0], cameras.intrinsics[0], 1)[:, :2]
    low, high = flat.amin(0), flat.amax(0)
    side = 1.2 * float((high - low).max())
    corner = (low + high) / 2 - side / 2
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, :2] /= side
    intrinsics[:, :2, 2] = (cameras.intrinsics[:, :2, 2] - corner) / side
    return Cameras(cameras.extrinsics, intrinsics)


def photograph(mesh: Mesh, camera: Cameras) -> np.ndarray:
    """The cut-out picture [PICTURE, PICTURE, 4] uint8 that `camera` takes."""
    images = render_mesh(mesh, camera, size=PICTURE, supersampling=3)
    mask = images.mask[0]
    rgba = torch.cat([images.color[0] / mask.clamp_min(1e-3), mask[None]])
    return (rgba.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


@pytest.fixture(scope="module")
def scene() -> tuple[Mesh, Unwrapped, Texels, Cameras]:
    mesh = figure()
    unwrapped = unwrap(Surface.from_mesh(mesh), SIZE)
    camera = framed(orbit_cameras([YAW], [PITCH], radius=0.8 / math.sin(math.radians(FOV / 2)), fov_degrees=FOV), mesh)
    return mesh, unwrapped, surface_texels(unwrapped, SIZE), camera


def colored(mesh: Mesh, unwrapped: Unwrapped) -> ColoredMesh:
    """The scene with a texture of its own colours: one flat colour a ball, read at the vertices."""
    surface = unwrapped_mesh(unwrapped)
    assert mesh.colors is not None
    # Every vertex looks up its own texel of a texture that is a list of the vertices.
    side = math.ceil(math.sqrt(len(unwrapped.vertex_map)))
    texture = torch.zeros(side * side, 3)
    texture[: len(unwrapped.vertex_map)] = mesh.colors[torch.from_numpy(unwrapped.vertex_map)]
    number = torch.arange(len(unwrapped.vertex_map))
    uvs = torch.stack([(number % side + 0.5) / side, (number // side + 0.5) / side], 1)
    # Interpolated lookups would cross foreign texels: draw each face with the colour of its first vertex.
    flat = Mesh(
        surface.vertices[surface.faces.long()].reshape(-1, 3), torch.arange(3 * len(surface.faces)).view(-1, 3).int()
    )
    return ColoredMesh(
        flat,
        uvs[surface.faces[:, :1].long()].expand(-1, 3, 2).reshape(-1, 2),
        texture.reshape(side, side, 3),
    )


def test_the_camera_of_a_picture_is_found(scene):
    mesh, unwrapped, _, camera = scene
    asset = colored(mesh, unwrapped)
    found = estimate_camera(asset, photograph(mesh, camera))
    assert found.confident and found.overlap > 0.97 and found.color_error < 0.06
    toward, truth = (torch.nn.functional.normalize(c.positions[0], dim=0) for c in (found.camera, camera))
    assert math.degrees(math.acos(min(1.0, float(toward @ truth)))) < 3
    places = [
        project_vertices(mesh.vertices, c.extrinsics[0], c.intrinsics[0], 1)[:, :2] for c in (found.camera, camera)
    ]
    assert (places[0] - places[1]).norm(dim=1).mean() < 0.01
    again = estimate_camera(asset, photograph(mesh, camera))
    assert torch.equal(again.camera.extrinsics, found.camera.extrinsics)


def taken(mesh: Mesh, yaw: float) -> np.ndarray:
    orbit = orbit_cameras([yaw], [PITCH], radius=0.8 / math.sin(math.radians(FOV / 2)), fov_degrees=FOV)
    return photograph(mesh, framed(orbit, mesh))


def test_what_looks_alike_from_both_sides_is_seen_from_in_front():
    """And what does not, from where its picture was taken."""
    arms = [sphere(3, radius=0.15, center=(x, 0.0, 0.15)) for x in (-0.25, 0.25)]
    alike = joined(sphere(3, radius=0.25, center=(0.0, 0.0, 0.0)), *arms)
    mark = 0.05 * (alike.vertices[:, 1:] < 0).float()[:, :1]  # so that the picture from behind is a little nearer
    alike = Mesh(alike.vertices, alike.faces, (0.5 + mark).expand(-1, 3).contiguous())
    for mesh, yaw, in_front in ((alike, YAW - math.pi, True), (figure(), YAW - math.pi, False), (figure(), YAW, True)):
        found = estimate_camera(ColoredMesh(mesh), taken(mesh, yaw))
        eye = torch.linalg.inv(found.camera.extrinsics[0])[:3, 3]
        assert (eye[1] < 0) == in_front
        assert found.overlap > 0.97


def test_another_objects_picture_is_not_trusted_and_said_so(scene):
    _, unwrapped, texels, camera = scene
    bar = Mesh(sphere(3).vertices * torch.tensor([1.0, 0.3, 0.15]), sphere(3).faces, sphere(3).attributes)
    texture = torch.full((SIZE, SIZE, 3), 0.5)
    picture = photograph(bar, framed(camera, bar))
    result, found, alike, notes = blended_texture(texture, texels, unwrapped, picture=picture, progress=Progress())
    assert torch.equal(result, texture) and found is None and alike < 0.35
    assert len(notes) == 1 and "picture was not laid on the texture" in notes[0] and "%" in notes[0]


def test_pixels_land_where_the_picture_sees_the_surface_and_nowhere_else(scene):
    mesh, unwrapped, texels, camera = scene
    surface = unwrapped_mesh(unwrapped)
    texture = torch.full((SIZE, SIZE, 3), 0.5)
    # A known picture: colours that tell the place in the picture, over the object's outline.
    picture = photograph(mesh, camera)
    ramp = np.arange(PICTURE, dtype=np.uint8)
    picture[..., 0], picture[..., 1], picture[..., 2] = ramp[None, :], ramp[:, None], 255
    blended = blend(texture, texels, surface, picture=picture, camera=camera, carry_over=False).reshape(-1, 3)[
        texels.index
    ]

    towards = torch.nn.functional.normalize(camera.positions - texels.points, dim=1)
    cosine = (texels.normals * towards).sum(1)
    place = project_vertices(texels.points, camera.extrinsics[0], camera.intrinsics[0], PICTURE)
    # Independent truth about occlusion: the segment to the camera passes well inside one of the four balls.
    hidden = hidden_by_balls(texels.points, camera.positions[0])
    changed = (blended - 0.5).abs().amax(1) > 1e-4
    assert not changed[hidden].any() and not changed[cosine < 0.2].any()
    covered = changed & (blended[:, 2] > 0.999)
    assert covered.sum() > 0.1 * len(texels) and changed.sum() > covered.sum()  # and a soft border
    assert ((blended[covered, :2] * 255 - (place[covered, :2] - 0.5)).abs() <= 1.5).all()
    # Well inside, facing the camera and far from outlines, everything is covered.
    crown = (cosine > 0.9) & ~hidden & (texels.points - torch.tensor([0.25, -0.05, 0.15])).norm(dim=1).lt(0.16)
    assert crown.sum() > 50 and covered[crown].float().mean() > 0.95


def blend(texture, texels, surface, **how):
    """The texture with a picture laid on its texels, where the picture's camera is known."""
    before = texture.reshape(-1, 3)[texels.index]
    after = laid_on(before, texels, surface, **how)
    return (texture + dilated(texels, after - before)).clamp(0, 1)


def hidden_by_balls(points: torch.Tensor, eye: torch.Tensor, *, margin: float = 0.02) -> torch.Tensor:
    """Bool [n]: hidden by more than `margin`, four pixels of the picture (depth cannot tell less apart)."""
    hidden = torch.zeros(len(points), dtype=torch.bool)
    ray = eye - points
    for center, radius in (
        ((0.0, 0.0, 0.0), 0.25),
        ((0.25, -0.05, 0.15), 0.15),
        ((-0.1, -0.1, 0.3), 0.14),
        ((-0.2, 0.2, -0.15), 0.12),
    ):
        away = torch.tensor(center) - points
        along = ((away * ray).sum(1) / ray.square().sum(1)).clamp(0, 1)
        closest = (away - along[:, None] * ray).norm(dim=1)
        own = (away.norm(dim=1) - radius).abs() < 0.005
        hidden |= (closest < radius - margin) & ~own
    return hidden


def test_an_empty_picture_changes_nothing_even_when_its_camera_is_known(scene):
    _, unwrapped, texels, camera = scene
    texture = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    picture = np.zeros((PICTURE, PICTURE, 4), dtype=np.uint8)
    assert torch.equal(blend(texture, texels, unwrapped_mesh(unwrapped), picture=picture, camera=camera), texture)


def test_export_lays_the_picture_on_unless_switched_off(scene):
    mesh, _, _, camera = scene
    assert mesh.colors is not None
    picture = photograph(mesh, camera)
    # The picture shows marks that the mesh lacks: a dark band over the largest ball.
    visible = picture[..., 3] > 200
    rows = slice(PICTURE // 2, PICTURE // 2 + PICTURE // 12)
    picture[rows, :, :3][visible[rows]] = (20, 20, 20)
    blended = textured_mesh(mesh, picture=picture)
    plain = textured_mesh(mesh, picture=picture, blend_picture=False)
    without = textured_mesh(mesh)
    assert np.array_equal(plain.texture, without.texture) and blended.notes == ()
    dark = (blended.texture.max(axis=2) < 60).mean()
    assert dark > 0.01 and (plain.texture.max(axis=2) < 60).mean() == 0
    assert np.array_equal(textured_mesh(mesh, picture=picture).texture, blended.texture)


def test_the_search_stops_on_cancel(scene):
    mesh, unwrapped, _, camera = scene
    token = CancelToken()
    reached: list[int] = []

    def listen(info: object) -> None:
        reached.append(1)
        if len(reached) == 5:
            token.cancel()

    with pytest.raises(Cancelled):
        estimate_camera(colored(mesh, unwrapped), photograph(mesh, camera), progress=Progress(listen, token))
    assert len(reached) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((64, 64, 3), dtype=np.uint8),
        np.zeros((64, 32, 4), dtype=np.uint8),
        np.zeros((64, 64, 4), dtype=np.float32),
        np.zeros((64, 64, 4), dtype=np.uint8),
    ],
)
def test_unusable_pictures_are_named(wrong):
    with pytest.raises(InvalidInputError, match="picture to blend in"):
        textured_mesh(sphere(2), picture=wrong)


def test_a_picture_that_fits_roughly_lends_its_colours_but_no_pixels(scene):
    mesh, unwrapped, texels, camera = scene
    surface = unwrapped_mesh(unwrapped)
    ball = texels.points.norm(dim=1) < 0.26  # the large one is red in the picture, orange in the texture
    wrong = torch.where(ball[:, None], torch.tensor([0.8, 0.5, 0.1]), torch.tensor([0.2, 0.7, 0.2]))
    texture = torch.full((SIZE * SIZE, 3), 0.5).index_copy(0, texels.index, wrong).reshape(SIZE, SIZE, 3)
    picture = photograph(mesh, camera)
    picture[::8, :, :3] = 255  # details that must not show
    result = blend(texture, texels, surface, picture=picture, camera=camera, lay_pixels=False)
    found = result.reshape(-1, 3)[texels.index][ball]
    assert found.std(0).max() < 0.05
    lines = 1 / 8  # of the picture's red is white
    expected = torch.tensor([0.8, 0.2, 0.2]) * (1 - lines) + lines
    assert (found.mean(0) - expected).abs().max() < 0.06
