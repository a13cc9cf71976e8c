"""FlexiCubes: known solids, table properties, manifoldness and bad input."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.representations import Mesh, flexicubes
from trellis.representations.flexicubes import extract_mesh

Field = Callable[[Tensor], Tensor]


def corner_points(coords: Tensor, resolution: int) -> Tensor:
    corner = torch.arange(8)
    offsets = torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], 1)
    return (coords[:, None] + offsets) / resolution - 0.5


def solid(field: Field, resolution: int, *, width: float = 2.0, channels: int = 101) -> tuple[Tensor, Tensor]:
    """Voxels inside `field` or within `width` voxel sides of its zero level, with its corner values and zeros.

    A shell without the inside would have a second surface within: vertices outside all voxels count as positive.
    """
    grid = torch.cartesian_prod(*[torch.arange(resolution)] * 3)
    coords = grid[field((grid + 0.5) / resolution - 0.5) < width / resolution]
    # The decoder's values are lowered by 1 / resolution on extraction.
    sdf = field(corner_points(coords, resolution)) + 1 / resolution
    return coords, torch.cat([sdf, torch.zeros(len(coords), channels - 8)], 1)


def sphere(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.35


def torus(points: Tensor) -> Tensor:
    ring = points[..., :2].norm(dim=-1) - 0.3
    return torch.stack([ring, points[..., 2]], -1).norm(dim=-1) - 0.12


def half_edges(mesh: Mesh) -> Tensor:
    faces = mesh.faces.long()
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def assert_closed_oriented_manifold(mesh: Mesh) -> None:
    """Each directed edge occurs once and its reverse exists once."""
    edges = half_edges(mesh)
    count = len(mesh.vertices)
    forward, backward = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    assert len(forward.unique()) == len(forward)
    assert torch.equal(forward.sort().values, backward.sort().values)


def euler_number(mesh: Mesh) -> int:
    used = mesh.faces.unique()
    edges = half_edges(mesh).sort(1).values.unique(dim=0)
    return len(used) - len(edges) + len(mesh.faces)


def signed_volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices.double()[mesh.faces.long()].unbind(1)
    return ((a * torch.linalg.cross(b, c)).sum() / 6).item()


def test_sphere_is_watertight_with_its_volume() -> None:
    mesh = extract_mesh(*solid(sphere, 48), resolution=48)
    assert_closed_oriented_manifold(mesh)
    assert euler_number(mesh) == 2
    assert signed_volume(mesh) == pytest.approx(4 / 3 * torch.pi * 0.35**3, rel=0.01)
    assert mesh.vertices.norm(dim=1).sub(0.35).abs().max() < 0.2 / 48
    assert mesh.faces.dtype == torch.int32
    assert mesh.attributes is not None
    assert mesh.attributes.shape == (len(mesh.vertices), 6)


def test_torus_has_one_hole() -> None:
    mesh = extract_mesh(*solid(torus, 48), resolution=48)
    assert_closed_oriented_manifold(mesh)
    assert euler_number(mesh) == 0
    assert signed_volume(mesh) == pytest.approx(2 * torch.pi**2 * 0.3 * 0.12**2, rel=0.02)


def test_a_hollow_shell_has_an_inner_surface() -> None:
    """Vertices that no voxel touches are outside, within the object too (as published)."""
    coords, feats = solid(sphere, 48)
    hollow = ((coords + 0.5) / 48 - 0.5).norm(dim=1) > 0.35 - 3 / 48
    mesh = extract_mesh(coords[hollow], feats[hollow], resolution=48)
    assert_closed_oriented_manifold(mesh)
    assert euler_number(mesh) == 4
    filled = extract_mesh(coords, feats, resolution=48)
    assert 0.2 * signed_volume(filled) < signed_volume(mesh) < 0.8 * signed_volume(filled)


@pytest.mark.parametrize("seed", range(6))
def test_random_fields_give_closed_manifolds(seed: int) -> None:
    """Independent signs at all inner vertices: nearly all 256 cases and many shared ambiguous faces."""
    resolution = 14
    generator = torch.Generator().manual_seed(seed)
    side = resolution + 1
    values = torch.randn(side, side, side, generator=generator)
    values[[0, -1]] = 1.0
    values[:, [0, -1]] = 1.0
    values[:, :, [0, -1]] = 1.0
    coords = torch.cartesian_prod(*[torch.arange(resolution)] * 3)
    corner = torch.arange(8)
    vertex = coords[:, None] + torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], 1)
    sdf = values[tuple(vertex.unbind(-1))] + 1 / resolution
    weights = torch.randn(len(coords), 45, generator=generator)
    mesh = extract_mesh(coords, torch.cat([sdf, weights], 1), resolution=resolution)
    assert len(mesh.faces) > 3000
    assert_closed_oriented_manifold(mesh)
    inside_share = (values < 0).double().mean().item()
    assert 0 < signed_volume(mesh) < 2 * inside_share
    assert mesh.attributes is None


def test_order_of_voxels_does_not_matter() -> None:
    coords, feats = solid(torus, 24)
    feats[:, 8:] = 0.3 * torch.randn(feats[:, 8:].shape, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(2))
    first = extract_mesh(coords, feats, resolution=24)
    second = extract_mesh(coords[order].int(), feats[order], resolution=24)
    assert torch.equal(first.vertices, second.vertices)
    assert torch.equal(first.faces, second.faces)


def test_attributes_are_interpolated_on_the_surface() -> None:
    """Colour logits linear in x come back as the sigmoid of the vertex means, between the ends of each edge."""
    coords, feats = solid(sphere, 32)
    feats[:, 53:] = corner_points(coords, 32)[..., :1].repeat(1, 1, 6).flatten(1) * 4
    mesh = extract_mesh(coords, feats, resolution=32)
    assert mesh.attributes is not None
    expected = torch.sigmoid(4 * mesh.vertices[:, :1])
    assert (mesh.attributes - expected).abs().max() < 1e-3
    assert mesh.attributes.std() > 0.1


def test_surface_cut_by_the_grid_border_stays_open_there() -> None:
    mesh = extract_mesh(*solid(lambda p: p[..., 2] - 0.1, 16), resolution=16)
    edges = half_edges(mesh).sort(1).values
    _, counts = edges.unique(dim=0, return_counts=True)
    assert set(counts.tolist()) == {1, 2}
    assert len(mesh.faces) == 2 * 15 * 15
    a, b, c = mesh.vertices[mesh.faces.long()].unbind(1)
    assert (torch.linalg.cross(b - a, c - a)[:, 2] > 0).all()


@pytest.mark.parametrize("channels", [53, 101])
def test_no_surface_gives_an_empty_mesh(channels: int) -> None:
    coords = torch.cartesian_prod(*[torch.arange(4)] * 3)
    feats = torch.zeros(64, channels)
    feats[:, :8] = 1.0
    for mesh in (
        extract_mesh(coords, feats, resolution=16),
        extract_mesh(coords[:0], feats[:0], resolution=16),
    ):
        assert mesh.vertices.shape == (0, 3)
        assert mesh.faces.shape == (0, 3)
        assert (mesh.attributes is None) == (channels == 53)


def test_bad_input_is_named() -> None:
    coords, feats = torch.tensor([[0, 0, 0], [0, 0, 1]]), torch.zeros(2, 101)
    with pytest.raises(InvalidInputError, match="101"):
        extract_mesh(coords, feats[:, :50], resolution=4)
    with pytest.raises(InvalidInputError, match="coords must be"):
        extract_mesh(coords[:1], feats, resolution=4)
    with pytest.raises(InvalidInputError, match=r"0\.\.3"):
        extract_mesh(coords + 3, feats, resolution=4)
    with pytest.raises(InvalidInputError, match="twice"):
        extract_mesh(coords[[0, 0]], feats, resolution=4)


@pytest.mark.gpu
def test_accelerator_agrees_with_the_cpu() -> None:
    device = torch.accelerator.current_accelerator()
    coords, feats = solid(torus, 48)
    feats[:, 8:] = 0.3 * torch.randn(feats[:, 8:].shape, generator=torch.Generator().manual_seed(1))
    here = extract_mesh(coords, feats, resolution=48)
    there = extract_mesh(coords.to(device), feats.to(device), resolution=48)
    assert torch.allclose(there.vertices.cpu(), here.vertices, atol=1e-5)
    assert (there.faces.cpu() == here.faces).all(1).float().mean() > 0.999  # splits may tip at equal products
    again = extract_mesh(coords.to(device), feats.to(device), resolution=48)
    assert torch.equal(again.vertices, there.vertices)


def test_pieces_of_any_size_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    coords, feats = solid(torus, 16)
    feats[:, 8:] = 0.3 * torch.randn(feats[:, 8:].shape, generator=torch.Generator().manual_seed(1))
    whole = extract_mesh(coords, feats, resolution=16)
    monkeypatch.setattr(flexicubes, "ROWS", 37)
    pieces = extract_mesh(coords, feats, resolution=16)
    assert len(whole.faces) > 100
    assert torch.equal(whole.vertices, pieces.vertices) and torch.equal(whole.faces, pieces.faces)
    assert whole.attributes is not None and pieces.attributes is not None
    assert torch.equal(whole.attributes, pieces.attributes)
