"""Gaussian splatting and radiance-field integration: Warp against the reference, both against the golden images."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.parity import renders
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.ops.rasterize import gaussians, splat_gaussians, warp_gaussians, warp_projection
from trellis.ops.rasterize.scenes import SH_C0, Gaussians
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field

GOLDENS = load_file(renders.__file__.replace("renders.py", "data/render_goldens.safetensors"))
LEVEL = 1 / 255


@pytest.mark.parametrize("backend", ["reference", "warp"])
@pytest.mark.parametrize("key", sorted(key for key in GOLDENS if key.startswith("gs_")))
def test_gaussian_goldens(backend: str, key: str) -> None:
    _, cloud, view, background = key.split("_")
    images = render_gaussians(
        renders.gaussian_cloud(cloud), renders.camera(int(view)), size=64, background=background, backend=backend
    )
    difference = (images.color[0] - GOLDENS[key]).abs()
    assert difference.max() < 0.05 * LEVEL and difference.mean() < 0.005 * LEVEL


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_radiance_field_golden(backend: str) -> None:
    images = render_radiance_field(renders.radiance_field(), renders.camera(0), size=64, backend=backend)
    difference = (images.color[0] - GOLDENS["rf_0"]).abs()
    assert difference.max() < 0.05 * LEVEL and difference.mean() < 0.005 * LEVEL


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_mesh_goldens(backend: str) -> None:
    images = render_mesh(renders.tetrahedron(), renders.camera(0), size=64, supersampling=4, backend=backend)
    inner = renders.inner_pixels(GOLDENS, "mesh_normal")
    assert inner.float().mean() > 0.7
    for name in ("color", "normal", "depth", "mask"):
        difference = (getattr(images, name)[0] - GOLDENS[f"mesh_{name}"]).abs()
        assert difference[..., inner].max() < 0.01 * LEVEL, name


def splats(n: int, seed: int) -> Gaussians:
    """Gaussians of all shapes, some beside the image, behind the camera, across its plane, without area or unusable."""
    g = torch.Generator().manual_seed(seed)
    positions = torch.randn(n, 3, generator=g) * torch.rand(n, 1, generator=g)
    rotations = torch.randn(n, 4, generator=g)
    scales = 0.04 * torch.rand(n, 3, generator=g) + 0.001
    opacities = torch.rand(n, 1, generator=g) ** 0.3
    if n:
        positions[5], positions[6, 0] = torch.nan, torch.inf
        scales[100:200, 1:] = 0  # needles, which have no area
        scales[200:210] *= 8
        opacities[300:400] *= 0.004
        positions[500:520], scales[500:520] = positions[500], scales[500]  # at equal depth the first is in front
    return Gaussians(positions, (torch.rand(n, 3, generator=g) - 0.5) / SH_C0, scales, rotations, opacities)


def draw(cloud: Gaussians, cameras: Cameras, size: int, *, backend: str, by_tiles: bool = False) -> tuple[Tensor, ...]:
    if backend == "reference":
        return splat_gaussians(cloud, cameras, size=size, backend=backend)
    return warp_gaussians.splat_gaussians(cloud, cameras, size=size, by_tiles=by_tiles)


@pytest.mark.parametrize("size", [64, 75])
def test_warp_projects_like_the_reference(size: int) -> None:
    cloud, camera = splats(4000, size), orbit_cameras([2.0], [0.3])
    numbers = torch.arange(4000.0)[:, None] / SH_C0  # tells who is who after the sorting
    screen = gaussians.project_gaussians(replace(cloud, features_dc=numbers), camera, size)
    projected = warp_projection.project_gaussians(cloud, camera, size=size)
    who = screen.colors[:, 0].long()  # and a half
    seen = screen.boxes[:, 2] > screen.boxes[:, 0]
    shown = who[seen]
    assert 500 < len(shown) < 3800
    assert torch.equal(shown.sort().values, projected.touched[0].nonzero().squeeze(1))
    shapes, rests, boxes = (part[0][shown] for part in (projected.shapes, projected.rests, projected.boxes))
    assert torch.allclose(shapes[:, :2], screen.means[seen], rtol=1e-5, atol=1e-5)
    conics = torch.cat([shapes[:, 2:], rests[:, :1]], 1)
    assert torch.allclose(conics, screen.conics[seen], rtol=1e-4, atol=1e-4)
    assert torch.allclose(rests[:, 1], screen.opacities[seen], rtol=1e-4, atol=1e-4)
    assert (rests[:, 3].diff() >= -1e-6).all()
    # A border that rounding puts on either side of a pixel moves by one.
    moved = (boxes - screen.boxes[seen]).abs().amax(1)
    assert moved.max() <= 1 and (moved > 0).float().mean() < 0.002
    tiles = -(-boxes[:, 2:] // 16) - boxes[:, :2] // 16
    assert torch.equal(projected.touched[0][shown], tiles.prod(1).int())


@pytest.mark.parametrize("by_tiles", [True, False])
@pytest.mark.parametrize("size", [64, 75])
def test_warp_gaussians_equal_reference(by_tiles: bool, size: int) -> None:
    cloud, cameras = splats(5000, size), orbit_cameras([0.3, 2.2, 4.0], [0.3, -0.5, 1.2])
    color, transmittance = draw(cloud, cameras, size, backend="reference")
    assert 0.1 < (transmittance < 2e-4).float().mean() < 0.9 and transmittance.max() > 0.05
    other_color, other_transmittance = draw(cloud, cameras, size, backend="warp", by_tiles=by_tiles)
    # A Gaussian at the 1/255 or the 1e-4 threshold may fall on either side by rounding.
    assert ((color - other_color).abs() > 1e-4).float().mean() < 0.002
    assert (color - other_color).abs().max() < 1.5 * LEVEL
    assert (transmittance - other_transmittance).abs().max() < 1.5 * LEVEL


def test_budgets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras drawn at once, one by one, or split after their lists turned out long: the same bits."""
    cloud, cameras = splats(3000, 1), orbit_cameras([0.3, 2.2, 4.0], [0.3, -0.5, 1.2])
    whole = draw(cloud, cameras, 64, backend="warp", by_tiles=True)
    for name, value in (("PAIR_BUDGET", 7000), ("ENTRY_BUDGET", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(warp_gaussians, name, value)
            assert all(map(torch.equal, whole, draw(cloud, cameras, 64, backend="warp", by_tiles=True)))


def test_threads_do_not_show() -> None:
    cloud, cameras = splats(40_000, 2), orbit_cameras([0.3], [0.3])
    field, before = renders.radiance_field(), torch.get_num_threads()
    pictures = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            drawn = render_radiance_field(field, cameras, size=100, backend="warp")
            pictures.append([*draw(cloud, cameras, 100, backend="warp"), drawn.color, drawn.alpha])
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *pictures))


@pytest.mark.parametrize("by_tiles", [True, False])
def test_no_gaussians_leave_the_background(by_tiles: bool) -> None:
    cameras = orbit_cameras([0.3, 2.2], [0.3, -0.5])
    for backend in ("reference", "warp"):
        color, transmittance = draw(splats(0, 0), cameras, 8, backend=backend, by_tiles=by_tiles)
        assert color.shape == (2, 3, 8, 8) and (color == 0).all() and (transmittance == 1).all()


def test_reference_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, camera = splats(2000, 7), orbit_cameras([0.3], [0.3])
    whole = draw(cloud, camera, 64, backend="reference")
    monkeypatch.setattr("trellis.ops.rasterize.reference.FRAGMENT_BUDGET", 20_000)
    bands = draw(cloud, camera, 64, backend="reference")
    torch.testing.assert_close(bands[0], whole[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(bands[1], whole[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [48, 61])
def test_warp_fields_equal_reference(size: int) -> None:
    cameras = orbit_cameras([0.07, 1.1, 4.0], [0.03, -0.9, 1.5])
    field = renders.radiance_field()
    first, second = (
        render_radiance_field(field, cameras, size=size, background="white", backend=name)
        for name in ("reference", "warp")
    )
    assert first.alpha.std() > 0.1
    # A sample on the wall between two voxels may be counted to either by rounding: few pixels, one sample's worth.
    assert ((first.color - second.color).abs() > 1e-4).float().mean() < 0.002
    assert (first.color - second.color).abs().max() < 0.03
