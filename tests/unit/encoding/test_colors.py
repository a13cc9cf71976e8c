"""Colours of surface points: wrapping, filtering in linear light, alpha."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.encoding.meshes import CHECKER
from tests.unit.encoding.samples import sample_surface
from trellis.encoding.colors import sample_texture, surface_colors
from trellis.encoding.source_mesh import Material, SourceMesh, Texture, linear_from_srgb, srgb_from_linear
from trellis.errors import InvalidInputError


def texture(pixels: np.ndarray, wrap: str = "repeat") -> Texture:
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return Texture(torch.from_numpy(np.concatenate([pixels, alpha], 2)), (wrap, wrap))


def quad(picture: Texture, material: Material) -> SourceMesh:
    """The square [0, 1]^2 in x and z; u = x, v = 1 - z: the picture stands upright."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]])
    return SourceMesh(
        vertices=vertices,
        faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        uvs=torch.stack([vertices[:, 0], 1 - vertices[:, 2]], 1),
        vertex_colors=torch.ones(4, 4),
        face_materials=torch.zeros(2, dtype=torch.int64),
        materials=(material,),
        textures=(picture,),
    )


def test_srgb_and_back() -> None:
    values = torch.arange(256) / 255
    assert torch.allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-6)
    assert linear_from_srgb(torch.tensor(0.5)).item() == pytest.approx(0.21404114, abs=1e-6)


@pytest.mark.parametrize(
    ("wrap", "columns"),
    [("repeat", [2, 3, 0, 1, 2, 3, 0, 1]), ("clamp", [0, 0, 0, 1, 2, 3, 3, 3]), ("mirror", [1, 0, 0, 1, 2, 3, 3, 2])],
)
def test_wrap_modes_at_texel_centres(wrap: str, columns: list[int]) -> None:
    """Texel centres from two before the picture to two behind it read exactly these texels, in both directions."""
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    centres = (torch.arange(-2, 6) + 0.5) / 4
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    found = sample_texture(texture(values, wrap), torch.stack([u, v], -1).reshape(-1, 2))
    expected = values[np.ix_(columns, columns)].reshape(-1, 3) / 255
    assert torch.allclose(srgb_from_linear(found[:, :3]), torch.from_numpy(expected).float(), atol=1e-5)


def test_far_repeats_are_the_same() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    uvs = torch.tensor([[0.25, 0.5], [0.75, 0.125]])
    near, far = (sample_texture(texture(values), uvs + shift) for shift in (0, 4096))
    assert torch.allclose(near, far, atol=1e-4)


def test_filtering_is_bilinear_in_linear_light() -> None:
    """Halfway between red and green, and a quarter towards the row below."""
    found = sample_texture(texture(CHECKER, "clamp"), torch.tensor([[0.5, 0.375]]))[0, :3]
    linear = linear_from_srgb(torch.from_numpy(CHECKER).float() / 255)
    expected = 0.75 * (linear[0, 0] + linear[0, 1]) / 2 + 0.25 * (linear[1, 0] + linear[1, 1]) / 2
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_known_picture_is_found_on_the_surface() -> None:
    """Samples of a quad with a smooth picture carry the picture's colours at their place, within 3/255."""
    size = 64
    v, u = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    smooth = np.stack([u, v, 0.5 + 0.5 * np.sin(3 * u + 2 * v)], -1)
    mesh = quad(texture((smooth * 255).round().astype(np.uint8), "clamp"), Material(texture=0))
    samples = sample_surface(mesh, 4000, generator=torch.Generator().manual_seed(0))
    x, z = samples.points[:, 0], samples.points[:, 2]
    expected = torch.stack([x, 1 - z, 0.5 + 0.5 * torch.sin(3 * x + 2 * (1 - z))], 1)
    # Half a texel from the rim the picture is clamped.
    inner = ((samples.points[:, [0, 2]] - 0.5).abs() < 0.5 - 0.5 / size).all(1)
    assert (samples.colors - expected)[inner].abs().max() < 3 / 255
    assert samples.colors.std(0).min() > 0.15 and (samples.alpha == 1).all()


@pytest.mark.parametrize(("mode", "alphas"), [("opaque", [1, 1]), ("mask", [0, 1]), ("blend", [0.25, 0.5])])
def test_alpha_modes(mode: str, alphas: list[float]) -> None:
    pixels = torch.full((1, 2, 4), 128, dtype=torch.uint8)
    pixels[0, 0, 3] = 64
    picture = Texture(pixels, ("clamp", "clamp"))
    mesh = quad(picture, Material(texture=0, alpha_mode=mode, alpha_cutoff=0.4))
    weights = torch.tensor([[1.0, 0, 0], [0.0, 1, 0]])  # the left and the right lower corner
    found = surface_colors(mesh, torch.tensor([0, 0]), weights)
    assert found[:, 3].tolist() == pytest.approx(alphas, abs=3e-3)
    assert torch.allclose(found[:, :3], torch.tensor(128 / 255), atol=1e-5)


def test_vertex_colours_are_interpolated_in_linear_light() -> None:
    mesh = quad(texture(np.full((1, 1, 3), 255, np.uint8)), Material(texture=0))
    mesh = replace(mesh, vertex_colors=torch.eye(4)[:, [0, 1, 2, 3]].clamp_min(0) + torch.tensor([0, 0, 0, 1.0]))
    found = surface_colors(mesh, torch.tensor([0]), torch.full((1, 3), 1 / 3))[0]
    assert torch.allclose(linear_from_srgb(found[:3]), torch.full((3,), 1 / 3), atol=1e-5)


def test_closed_sets() -> None:
    mesh = quad(texture(CHECKER), Material())
    with pytest.raises(InvalidInputError, match="repeat, mirror, clamp"):
        texture(CHECKER, "border")
    with pytest.raises(InvalidInputError, match="opaque, mask, blend"):
        Material(alpha_mode="glass")
    with pytest.raises(InvalidInputError, match="uint8"):
        Texture(torch.zeros(2, 2, 3))
    with pytest.raises(InvalidInputError, match="uvs"):
        replace(mesh, uvs=torch.zeros(3, 2))
