"""Gaussian cloud: activated values in world space."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.rasterize.scenes import Gaussians
from trellis.representations.config_keys import require_keys

SCALING_ACTIVATIONS = ("softplus",)


@dataclass(frozen=True)
class FeatureFactors:
    """Factors on the raw decoder output; the checkpoint calls them `lr`."""

    xyz: float = 1.0
    features_dc: float = 1.0
    scaling: float = 1.0
    rotation: float = 1.0
    opacity: float = 1.0

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> "FeatureFactors":
        """Parse the `lr` map, whose keys carry a leading underscore."""
        require_keys(values, "lr", required=[f"_{name}" for name in cls.__dataclass_fields__])
        return cls(**{key.removeprefix("_"): float(value) for key, value in values.items()})


@dataclass(frozen=True)
class GaussianConfig:
    """How raw decoder features become Gaussians (docs/developer/model-facts.md, section 7).

    voxel_size: side of the cube the Gaussians of a voxel may fill, in voxels; filter_2d: screen low-pass in squared
    pixels; filter_3d: smallest standard deviation, world units; scaling_bias and opacity_bias: values at raw 0.
    """

    num_gaussians: int = 32
    voxel_size: float = 1.5
    perturb_offset: bool = True
    filter_2d: float = 0.1
    filter_3d: float = 0.0009
    scaling_bias: float = 0.004
    opacity_bias: float = 0.1
    scaling_activation: str = "softplus"
    factors: FeatureFactors = field(default_factory=FeatureFactors)

    def __post_init__(self) -> None:
        if self.scaling_activation not in SCALING_ACTIVATIONS:
            raise InvalidInputError(
                f"Unknown scaling_activation {self.scaling_activation!r}; known: {', '.join(SCALING_ACTIVATIONS)}."
            )
        if self.num_gaussians < 1 or self.scaling_bias <= 0 or not 0 < self.opacity_bias < 1:
            raise InvalidInputError("Gaussians need num_gaussians >= 1, scaling_bias > 0 and opacity_bias in (0, 1).")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GaussianConfig":
        """Parse the `representation_config` of a Gaussian decoder; a missing or unknown key raises."""
        renamed = {"2d_filter_kernel_size": "filter_2d", "3d_filter_kernel_size": "filter_3d", "lr": "factors"}
        published = {new: old for old, new in renamed.items()}
        require_keys(values, "representation_config", required=[published.get(n, n) for n in cls.__dataclass_fields__])
        arguments = {renamed.get(key, key): value for key, value in values.items()}
        return cls(**{**arguments, "factors": FeatureFactors.from_dict(values["lr"])})

    @property
    def feature_width(self) -> int:
        """Raw decoder channels a voxel: 14 a Gaussian."""
        return 14 * self.num_gaussians


class GaussianCloud(Gaussians):
    """Gaussians as a decoder states them."""

    @classmethod
    def from_features(
        cls, feats: Tensor, coords: Tensor, *, resolution: int, config: GaussianConfig, offset_perturbation: Tensor
    ) -> "GaussianCloud":
        """Activate the raw features of one sample; the G Gaussians of a voxel are adjacent.

        feats [n, 14 G] in the order xyz, features_dc, scaling, rotation, opacity (each [G, k]); coords [n, 3] voxels of
        the resolution^3 grid; offset_perturbation [G, 3] (zeros when the config does not perturb). Differentiable.
        """
        count, gaussians = len(feats), config.num_gaussians
        if feats.shape != (count, config.feature_width) or coords.shape != (count, 3):
            raise InvalidInputError(
                f"{gaussians} Gaussians a voxel need features [n, {config.feature_width}] and coords [n, 3], "
                f"not {list(feats.shape)} and {list(coords.shape)}."
            )
        factors = config.factors
        widths = [gaussians * k for k in (3, 3, 3, 4, 1)]
        parts = feats.float().split(widths, dim=1)
        xyz, dc, scaling, rotation, opacity = (
            part.reshape(count, gaussians, k) * factor
            for part, k, factor in zip(
                parts,
                (3, 3, 3, 4, 1),
                (factors.xyz, factors.features_dc, factors.scaling, factors.rotation, factors.opacity),
            )
        )
        perturbation = offset_perturbation if config.perturb_offset else torch.zeros_like(offset_perturbation)
        offset = torch.tanh(xyz + perturbation.to(xyz)) / resolution * 0.5 * config.voxel_size
        unit = ((coords.to(xyz) + 0.5) / resolution)[:, None] + offset
        raw_scale_bias = config.scaling_bias + math.log(-math.expm1(-config.scaling_bias))
        scales = F.softplus(scaling + raw_scale_bias)
        raw_opacity_bias = math.log(config.opacity_bias / (1 - config.opacity_bias))
        identity = rotation.new_tensor([1.0, 0.0, 0.0, 0.0])
        return cls(
            positions=(unit - 0.5).flatten(0, 1),
            features_dc=dc.flatten(0, 1),
            scales=(scales.square() + config.filter_3d**2).sqrt().flatten(0, 1),
            rotations=F.normalize(rotation + identity, dim=-1).flatten(0, 1),
            opacities=torch.sigmoid(opacity + raw_opacity_bias).flatten(0, 1),
            filter_2d=config.filter_2d,
        )
