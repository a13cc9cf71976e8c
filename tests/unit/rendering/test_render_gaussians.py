import math

import pytest
import torch

from tests.clouds import round_cloud
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.gaussians import render_gaussians
from trellis.representations import GaussianCloud

BACKENDS = pytest.mark.parametrize("backend", ["reference", "warp"])


def cloud(positions: list[list[float]], colors: list[list[float]], *, scale: float = 0.05, opacity: float = 0.8):
    return round_cloud(torch.tensor(positions), torch.tensor(colors), scale=scale, opacity=opacity)


@BACKENDS
def test_one_gaussian_has_its_analytic_profile(backend: str) -> None:
    """An isotropic Gaussian at the centre: variance f^2 s^2 / z^2 + 0.1 pixels, opacity scaled by the filter."""
    size, scale, opacity = 65, 0.05, 0.8
    images = render_gaussians(
        cloud([[0.0, 0.0, 0.0]], [[1.0, 0.5, 0.25]], scale=scale, opacity=opacity),
        orbit_cameras([math.pi], [0.0]),
        size=size,
        backend=backend,
    )
    focal = 0.5 / math.tan(math.radians(20)) * size
    plain = (focal * scale / 2) ** 2
    variance = plain + 0.1
    squared = (torch.arange(size) - (size - 1) / 2) ** 2
    expected = opacity * plain / variance * torch.exp(-0.5 * (squared[:, None] + squared) / variance)
    expected[expected < 1 / 255] = 0
    torch.testing.assert_close(images.alpha[0], expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(images.color[0, 2], 0.25 * expected, atol=2e-5, rtol=0)


@BACKENDS
def test_the_nearer_gaussian_is_in_front(backend: str) -> None:
    pair = cloud([[0.0, -0.2, 0.0], [0.0, 0.2, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], opacity=0.95)
    front, back = render_gaussians(pair, orbit_cameras([math.pi, 0.0], [0.0, 0.0]), size=33, backend=backend).color
    assert front[0, 16, 16] > 5 * front[1, 16, 16]
    assert back[1, 16, 16] > 5 * back[0, 16, 16]


@BACKENDS
def test_background_fills_what_is_left(backend: str) -> None:
    one = cloud([[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]])
    camera = orbit_cameras([1.0], [0.2])
    black = render_gaussians(one, camera, size=32, backend=backend)
    color = render_gaussians(one, camera, size=32, background=(0.2, 0.4, 0.6), backend=backend)
    expected = black.color[0] + (1 - black.alpha[0]) * torch.tensor([0.2, 0.4, 0.6])[:, None, None]
    torch.testing.assert_close(color.color[0], expected)
    with pytest.raises(InvalidInputError, match="black, white, grey"):
        render_gaussians(one, camera, size=32, background="pink")


@BACKENDS
def test_gaussians_behind_the_camera_are_unseen(backend: str) -> None:
    images = render_gaussians(
        cloud([[0.0, -2.5, 0.0]], [[1.0, 1.0, 1.0]]), orbit_cameras([math.pi], [0.0]), size=32, backend=backend
    )
    assert (images.alpha == 0).all()


def test_gradients_match_finite_differences() -> None:
    base = cloud([[0.03, 0.0, 0.02], [-0.05, 0.1, -0.04]], [[0.9, 0.4, 0.2], [0.1, 0.8, 0.3]], scale=0.06, opacity=0.6)
    camera = orbit_cameras([0.4], [0.3])
    weight = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    # The image jumps where an alpha passes 1/255; no derivative sees that.
    weight *= render_gaussians(base, camera, size=24).alpha > 0.1

    def loss(features: torch.Tensor, opacities: torch.Tensor) -> torch.Tensor:
        changed = GaussianCloud(base.positions, features, base.scales, base.rotations, opacities)
        return (render_gaussians(changed, camera, size=24).color[0] * weight).double().sum()

    features = base.features_dc.clone().requires_grad_()
    opacities = base.opacities.clone().requires_grad_()
    loss(features, opacities).backward()
    with torch.no_grad():
        for tensor, place in ((features, (1, 1)), (opacities, (0, 0))):
            assert tensor.grad is not None
            step = torch.zeros_like(tensor)
            step[place] = 1e-2
            shifted = [
                loss(features + s * step, opacities) if tensor is features else loss(features, opacities + s * step)
                for s in (1, -1)
            ]
            numeric = (shifted[0] - shifted[1]) / 2e-2
            assert abs(numeric - tensor.grad[place]) < 0.02 * abs(numeric)
