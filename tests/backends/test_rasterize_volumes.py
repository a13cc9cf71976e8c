"""Gaussian compositing and radiance-field integration: Warp against the reference, both against the golden images."""

import pytest
import torch
from safetensors.torch import load_file

from tests.parity import renders
from trellis.geometry.cameras import orbit_cameras
from trellis.ops.rasterize import ScreenGaussians, composite_gaussians, project_gaussians, warp_gaussians
from trellis.rendering import render_gaussians, render_mesh, render_radiance_field

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


def random_screen(n: int, size: int, seed: int) -> ScreenGaussians:
    """Gaussians of all shapes, many deep, some off the image."""
    g = torch.Generator().manual_seed(seed)
    means = torch.rand(n, 2, generator=g) * (size + 20) - 10
    half = torch.randn(n, 2, 2, generator=g) * (1 + 3 * torch.rand(n, 1, 1, generator=g))
    covariance = half @ half.transpose(1, 2) + 0.3 * torch.eye(2)
    inverse = torch.linalg.inv(covariance)
    conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
    low = torch.randint(-16, size, (n, 2), generator=g).clamp(min=0)
    high = (low + torch.randint(0, 48, (n, 2), generator=g)).clamp(max=size)
    boxes = torch.where((high > low).all(1, keepdim=True), torch.cat([low, high], 1), 0)
    opacities = torch.rand(n, generator=g) ** 0.3
    return ScreenGaussians(means, conics, opacities, torch.rand(n, 3, generator=g), boxes)


@pytest.mark.parametrize("size", [64, 75])
def test_warp_projects_like_the_reference(size: int) -> None:
    n, g = 4000, torch.Generator().manual_seed(size)
    positions = torch.randn(n, 3, generator=g)  # some beside the image, behind the camera and across its plane
    positions[5], positions[6, 0] = torch.nan, torch.inf
    axes = 0.02 * torch.randn(n, 3, 3, generator=g)
    axes[100:200, :, 1:] = 0  # needles, which have no area
    axes[200:210] *= 30
    opacities = torch.rand(n, generator=g)
    opacities[300:400] *= 0.004
    camera = orbit_cameras([2.0], [0.3])
    screens = [
        project_gaussians(
            positions,
            axes,
            opacities=opacities,
            colors=torch.rand(n, 3, generator=torch.Generator().manual_seed(1)),
            extrinsics=camera.extrinsics[0],
            intrinsics=camera.intrinsics[0],
            size=size,
            filter_2d=0.1,
            backend=backend,
        )
        for backend in ("reference", "warp")
    ]
    seen = [(screen.boxes[:, 2] > screen.boxes[:, 0]) for screen in screens]
    assert 500 < seen[0].sum() < n - 500 and torch.equal(*seen)
    shown = seen[0]
    for name, tolerance in (("means", 1e-5), ("conics", 1e-4), ("opacities", 1e-4), ("colors", 0)):
        one, other = (getattr(screen, name)[shown] for screen in screens)
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance), name
    # A border that rounding puts on either side of a pixel moves by one.
    moved = (screens[0].boxes[shown] - screens[1].boxes[shown]).abs().amax(1)
    assert (moved > 0).float().mean() < 0.002
    pictures = [composite_gaussians(screen, size, backend="reference")[0] for screen in screens]
    assert pictures[0].std() > 0.05 and ((pictures[0] - pictures[1]).abs() > 1e-4).float().mean() < 0.002


@pytest.mark.parametrize("by_tiles", [True, False])
@pytest.mark.parametrize("size", [64, 75])
def test_warp_gaussians_equal_reference(by_tiles: bool, size: int) -> None:
    screen = random_screen(20_000, size, size)
    color, transmittance = composite_gaussians(screen, size, backend="reference")
    assert (transmittance < 2e-4).float().mean() > 0.15 and transmittance.max() > 0.005
    other_color, other_transmittance = warp_gaussians.composite_gaussians(screen, size, by_tiles=by_tiles)
    # A Gaussian at the 1/255 or the 1e-4 threshold may fall on either side by rounding.
    assert ((color - other_color).abs() > 1e-5).float().mean() < 0.002
    assert (color - other_color).abs().max() < 1.5 * LEVEL
    assert (transmittance - other_transmittance).abs().max() < 1.5 * LEVEL


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_no_gaussians_leave_the_background(backend: str) -> None:
    empty = random_screen(0, 8, 0)
    color, transmittance = composite_gaussians(empty, 8, backend=backend)
    assert (color == 0).all() and (transmittance == 1).all()


def test_reference_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = random_screen(2000, 64, 7)
    whole = composite_gaussians(screen, 64, backend="reference")
    monkeypatch.setattr("trellis.ops.rasterize.reference.FRAGMENT_BUDGET", 20_000)
    bands = composite_gaussians(screen, 64, backend="reference")
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
