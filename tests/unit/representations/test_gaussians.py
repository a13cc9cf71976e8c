"""Raw decoder features to Gaussians and radiance fields, and their configs."""

import math

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.representations import GaussianCloud, GaussianConfig, RadianceField, RadianceFieldConfig

PUBLISHED = {
    "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.1},
    "perturb_offset": True,
    "voxel_size": 1.5,
    "num_gaussians": 32,
    "2d_filter_kernel_size": 0.1,
    "3d_filter_kernel_size": 0.0009,
    "scaling_bias": 0.004,
    "opacity_bias": 0.1,
    "scaling_activation": "softplus",
}


def test_published_config_is_read() -> None:
    config = GaussianConfig.from_dict(PUBLISHED)
    assert (config.num_gaussians, config.voxel_size, config.filter_2d, config.filter_3d) == (32, 1.5, 0.1, 0.0009)
    assert (config.factors.rotation, config.factors.xyz) == (0.1, 1.0)
    assert config.feature_width == 448


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": 1}, "colour"),
        ({"scaling_activation": "exp"}, "softplus"),
        ({"lr": {**PUBLISHED["lr"], "_sh": 1.0}}, "_sh"),
        ({"lr": {"_xyz": 1.0}}, "_features_dc"),
        ({"opacity_bias": 1.5}, "opacity_bias"),
    ],
)
def test_unusable_config_is_named(change: dict, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        GaussianConfig.from_dict({**PUBLISHED, **change})


def test_missing_key_is_named() -> None:
    with pytest.raises(InvalidInputError, match="2d_filter_kernel_size"):
        GaussianConfig.from_dict({key: value for key, value in PUBLISHED.items() if not key.startswith("2d")})


def test_zero_features_give_the_biases() -> None:
    config = GaussianConfig(num_gaussians=2)
    coords = torch.tensor([[0, 0, 0], [3, 1, 2]])
    cloud = GaussianCloud.from_features(
        torch.zeros(2, 28), coords, resolution=4, config=config, offset_perturbation=torch.zeros(2, 3)
    )
    centres = (coords + 0.5) / 4 - 0.5
    assert torch.allclose(cloud.positions, centres.repeat_interleave(2, 0))
    assert torch.allclose(cloud.scales, torch.tensor(math.hypot(0.004, 0.0009)))
    assert torch.allclose(cloud.opacities, torch.tensor(0.1))
    assert torch.equal(cloud.rotations, torch.tensor([[1.0, 0, 0, 0]]).expand(4, -1))
    assert torch.equal(cloud.colors, torch.full((4, 3), 0.5))
    assert len(cloud) == 4


def test_layout_of_the_features() -> None:
    """Each block of the features moves its own values, Gaussian by Gaussian."""
    config = GaussianConfig.from_dict({**PUBLISHED, "num_gaussians": 2})
    feats = torch.zeros(1, 28)
    feats[0, 3:6] = torch.tensor([100.0, -100.0, 0.0])  # xyz of the second Gaussian
    feats[0, 6:9] = torch.tensor([1.0, 2.0, 3.0])  # colour of the first
    feats[0, 15:18] = 20.0  # scaling of the second
    feats[0, 18:22] = torch.tensor([-10.0, 10.0, 0.0, 0.0])  # rotation of the first, factor 0.1
    feats[0, 27] = 100.0  # opacity of the second
    cloud = GaussianCloud.from_features(
        feats, torch.zeros(1, 3), resolution=1, config=config, offset_perturbation=torch.zeros(2, 3)
    )
    assert torch.allclose(cloud.positions, torch.tensor([[0.0, 0, 0], [0.75, -0.75, 0]]))
    assert torch.allclose(cloud.features_dc, torch.tensor([[1.0, 2, 3], [0, 0, 0]]))
    assert cloud.scales[0].max() < 0.01
    assert cloud.scales[1].min() > 10
    assert torch.allclose(cloud.rotations, torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0]]), atol=1e-6)
    assert torch.allclose(cloud.opacities, torch.tensor([[0.1], [1.0]]))


def test_perturbation_moves_positions_unless_switched_off() -> None:
    perturbation = torch.full((1, 3), 0.5)
    arguments = {"resolution": 2, "offset_perturbation": perturbation}
    coords = torch.zeros(1, 3)
    moved = GaussianCloud.from_features(torch.zeros(1, 14), coords, config=GaussianConfig(num_gaussians=1), **arguments)
    still = GaussianCloud.from_features(
        torch.zeros(1, 14), coords, config=GaussianConfig(num_gaussians=1, perturb_offset=False), **arguments
    )
    assert torch.allclose(moved.positions - still.positions, torch.tanh(perturbation) / 2 * 0.75)
    assert torch.equal(still.positions, torch.full((1, 3), -0.25))


def test_gaussians_are_differentiable() -> None:
    feats = torch.randn(3, 28, generator=torch.Generator().manual_seed(0), requires_grad=True)
    cloud = GaussianCloud.from_features(
        feats,
        torch.zeros(3, 3),
        resolution=4,
        config=GaussianConfig(num_gaussians=2),
        offset_perturbation=torch.zeros(2, 3),
    )
    parts = (cloud.positions, cloud.features_dc, cloud.scales, cloud.rotations[:, 1:], cloud.opacities)
    sum(part.sum() for part in parts).backward()
    assert feats.grad is not None
    assert (feats.grad.abs().sum(0) > 0).all()


def test_radiance_field_layout() -> None:
    config = RadianceFieldConfig.from_dict({"rank": 2, "dim": 3})
    feats = torch.arange(26.0)[None]
    field = RadianceField.from_features(feats, torch.tensor([[1, 2, 3]]), resolution=4, config=config)
    assert torch.equal(field.trivec[0, 1, 2], torch.tensor([15.0, 16, 17]) + 1)
    assert field.density.tolist() == [[18.0, 19.0]]
    assert field.features_dc[0, 1].tolist() == [23.0, 24.0, 25.0]
    assert field.positions.tolist() == [[0.375, 0.625, 0.875]]
    assert field.resolution == 4


def test_wrong_widths_and_keys_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"\[n, 448\]"):
        GaussianCloud.from_features(
            torch.zeros(1, 14),
            torch.zeros(1, 3),
            resolution=4,
            config=GaussianConfig(),
            offset_perturbation=torch.zeros(32, 3),
        )
    with pytest.raises(InvalidInputError, match=r"\[n, 448\]"):
        RadianceField.from_features(torch.zeros(1, 14), torch.zeros(1, 3), resolution=4, config=RadianceFieldConfig())
    with pytest.raises(InvalidInputError, match="depth"):
        RadianceFieldConfig.from_dict({"rank": 2, "dim": 3, "depth": 1})
    with pytest.raises(InvalidInputError, match="dim"):
        RadianceFieldConfig.from_dict({"rank": 2, "dim": 1})
