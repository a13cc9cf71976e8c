"""The kept part of an edited asset in its files: its texture is the source's, and their agreement is measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.unit.export.shapes import sphere
from trellis.export.bake import Texels, surface_mask
from trellis.export.glb import read_picture_camera, write_glb
from trellis.export.kept import MOST_PSNR, KeptPart, kept_psnr, with_kept_texture
from trellis.geometry.cameras import orbit_cameras
from trellis.geometry.similarity import IDENTITY, Similarity
from trellis.progress import Progress
from trellis.representations import Mesh, TexturedMesh

SIDE = 16
BALL = sphere(4)


def colors(mesh: Mesh):
    def at(faces: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        assert mesh.colors is not None
        return (mesh.colors[mesh.faces[faces].long()] * weights[..., None]).sum(1)

    return at


def part() -> KeptPart:
    """The ball, of which what is above 0 was edited."""
    region = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    region[:, :, SIDE // 2 :] = True
    return KeptPart(Mesh(BALL.vertices, BALL.faces), colors(BALL), region)


def test_depth_grows_from_the_border_to_one_voxel_inside() -> None:
    step = 1 / SIDE
    heights = torch.tensor([-0.2, -1e-4, 0.25 * step, 0.75 * step, 1.5 * step, 0.4])
    points = torch.stack([torch.full_like(heights, 0.01), torch.full_like(heights, 0.02), heights], 1)
    expected = torch.tensor([0, 0, 0.25, 0.75, 1, 1])
    assert torch.allclose(part().depth(points), expected, atol=1e-5)
    assert part().holds(points).tolist() == [False, False, True, True, True, True]


def test_outside_the_texture_is_the_sources_and_deep_inside_its_own() -> None:
    """Texels on the ball, whose own colour is black everywhere."""
    size = 64
    index = torch.arange(0, size * size, 7)
    rng = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(len(index), 3, generator=rng), dim=1)
    texels = Texels(size, index, normals * float(BALL.vertices.norm(dim=1).max()), normals)
    after = with_kept_texture(torch.zeros(size, size, 3), texels, part(), progress=Progress()).reshape(-1, 3)[index]
    height, step = texels.points[:, 2], 1 / SIDE
    expected = part().surface()(texels.points, normals)
    assert torch.equal(after[height < 0], expected[height < 0])
    assert bool((after[height > step] == 0).all())
    between = (height > 0.2 * step) & (height < 0.8 * step)
    shares = (after[between] / expected[between]).mean(1)
    assert torch.allclose(shares, 1 - height[between] / step, atol=0.02)
    assert int(surface_mask(texels).sum()) == len(index)


def test_colours_of_what_was_removed_are_not_taken() -> None:
    """Just above the border the nearest surface is edited; its colours are gone."""
    painted = replace(BALL, attributes=torch.where(BALL.vertices[:, 2:] > 0.05, 1.0, 0.0).expand(-1, 3))
    kept = replace(part(), colors=colors(painted))
    normals = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.0, 0.6]])
    assert float(kept.surface()(normals * 0.4, normals).max()) < 0.5


def textured(lower: float, upper: float) -> TexturedMesh:
    """The ball with one grey below 0 and one above."""
    vertices = BALL.vertices.numpy()
    uvs = np.stack([np.full(len(vertices), 0.5), np.clip(vertices[:, 2] * 100 + 0.5, 0.01, 0.99)], 1)
    texture = np.zeros((64, 64, 3), dtype=np.uint8)
    texture[:32], texture[32:] = int(lower * 255), int(upper * 255)
    normals = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return TexturedMesh(
        vertices, normals.astype(np.float32), uvs.astype(np.float32), BALL.faces.numpy(), texture,
        picture_camera=orbit_cameras([0.4], [0.3]),
    )  # fmt: skip


def grey(value: float) -> KeptPart:
    return replace(part(), colors=lambda faces, _: torch.full((len(faces), 3), int(value * 255) / 255))


def test_agreement_is_of_what_was_not_edited() -> None:
    assert kept_psnr(textured(0.5, 0.0), grey(0.5)) > 90, "whatever is above"
    assert kept_psnr(textured(0.5, 0.5), grey(0.5)) <= MOST_PSNR
    ten_percent = kept_psnr(textured(0.5, 0.5), grey(0.6))
    assert 19 < ten_percent < 21, "a difference of a tenth is 20 dB"


def test_the_camera_of_a_glb_comes_back(tmp_path: Path) -> None:
    made = textured(0.5, 0.5)
    path = write_glb(made, tmp_path / "ball.glb")
    found = read_picture_camera(path, to_cube=IDENTITY)
    assert found is not None and made.picture_camera is not None
    assert torch.allclose(found.extrinsics, made.picture_camera.extrinsics, atol=1e-5)
    assert torch.allclose(found.intrinsics, made.picture_camera.intrinsics, atol=1e-5)
    to_cube = Similarity(2.0, (0.1, 0.2, 0.3), 1)
    moved = read_picture_camera(path, to_cube=to_cube)
    assert moved is not None
    point = torch.tensor([0.1, -0.2, 0.3])
    before, after = (
        camera.extrinsics[0, :3, :3] @ place + camera.extrinsics[0, :3, 3]
        for camera, place in ((found, point), (moved, to_cube.apply(point)))
    )
    assert torch.allclose(2 * before, after, atol=1e-5), "the same picture, of a world twice as large"
    assert read_picture_camera(write_glb(replace(made, picture_camera=None), path), to_cube=IDENTITY) is None
