import math

import pytest
import torch

from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.radiance_field import render_radiance_field
from trellis.representations import RadianceField

BACKENDS = pytest.mark.parametrize("backend", ["reference", "warp"])


def solid_cube(density: float, tint: float) -> RadianceField:
    """All 8 voxels of a 2^3 grid, rank 1, constant inside: a homogeneous unit cube."""
    grid = torch.cartesian_prod(*[torch.arange(2)] * 3)
    return RadianceField(
        (grid + 0.5) / 2, torch.ones(8, 1, 3, 8), torch.full((8, 1), density), torch.full((8, 1, 3), tint), 2
    )


@BACKENDS
def test_homogeneous_cube_attenuates_exponentially(backend: str) -> None:
    density = 1.5
    images = render_radiance_field(
        solid_cube(density, 2.0), orbit_cameras([math.pi], [0.0]), size=33, background="white", backend=backend
    )
    extinction = math.log1p(math.exp(density))
    transmittance = 1 - images.alpha[0, 16, 16].item()
    # The ray crosses one unit in steps of 1/32: one step more or less may fall into the cube.
    assert math.exp(-extinction * 33 / 32) - 1e-5 <= transmittance <= math.exp(-extinction * 31 / 32) + 1e-5
    emitted = 1 / (1 + math.exp(-0.28209479177387814 * 2.0))
    expected = emitted * (1 - transmittance) + transmittance
    assert torch.allclose(images.color[0, :, 16, 16], torch.tensor(expected), atol=1e-5)
    assert images.alpha[0, 0, 0] == 0 and (images.color[0, :, 0, 0] == 1).all()


@BACKENDS
def test_an_opaque_voxel_hides_what_is_behind(backend: str) -> None:
    positions = torch.tensor([[0.25, 0.25, 0.25], [0.25, 0.75, 0.25]])
    field = RadianceField(
        positions,
        torch.ones(2, 1, 3, 8),
        torch.full((2, 1), 400.0),
        torch.tensor([[[20.0, -20.0, -20.0]], [[-20.0, 20.0, -20.0]]]),
        2,
    )
    front, back = render_radiance_field(
        field, orbit_cameras([math.pi, 0.0], [0.0, 0.0]), size=64, backend=backend
    ).color
    # Voxels lie at x < 0 and z < 0: left of the middle from the front, right of it from the back, below it in both.
    assert front[0, 40, 24] > 0.98 and front[1, 40, 24] < 0.01
    assert back[1, 40, 40] > 0.98 and back[0, 40, 40] < 0.01


def test_gradients_reach_every_input() -> None:
    g = torch.Generator().manual_seed(0)
    trivec = (1 + 0.3 * torch.randn(8, 2, 3, 4, generator=g)).requires_grad_()
    density = torch.randn(8, 2, generator=g).requires_grad_()
    features = torch.randn(8, 2, 3, generator=g).requires_grad_()
    grid = torch.cartesian_prod(*[torch.arange(2)] * 3)
    field = RadianceField((grid + 0.5) / 2, trivec, density, features, 2)
    render_radiance_field(field, orbit_cameras([0.5], [0.3]), size=16).color.square().sum().backward()
    for tensor in (trivec, density, features):
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0
