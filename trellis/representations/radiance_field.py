"""Radiance field of voxels that each carry a rank-R product of three vectors (trivec)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.rasterize.scenes import VoxelField
from trellis.representations.config_keys import require_keys


@dataclass(frozen=True)
class RadianceFieldConfig:
    """`rank` vector triples of length `dim` a voxel."""

    rank: int = 16
    dim: int = 8

    def __post_init__(self) -> None:
        if self.rank < 1 or self.dim < 2:
            raise InvalidInputError(
                "A radiance field needs rank >= 1 and dim >= 2 (it interpolates along each vector)."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RadianceFieldConfig":
        """Parse the `representation_config` of a radiance-field decoder; a missing or unknown key raises."""
        require_keys(values, "representation_config", required=list(cls.__dataclass_fields__))
        return cls(**values)

    @property
    def feature_width(self) -> int:
        """Raw decoder channels a voxel: trivec 3 R D, density R, colour 3 R."""
        return self.rank * (3 * self.dim + 4)


class RadianceField(VoxelField):
    """Voxels as a decoder states them; `trivec` has the +1 already added."""

    @classmethod
    def from_features(
        cls, feats: Tensor, coords: Tensor, *, resolution: int, config: RadianceFieldConfig
    ) -> "RadianceField":
        """Split the raw features [n, R (3 D + 4)] of one sample with voxels coords [n, 3].

        Source: docs/developer/model-facts.md, section 7.
        """
        rank, dim = config.rank, config.dim
        if feats.shape != (len(feats), config.feature_width) or coords.shape != (len(feats), 3):
            raise InvalidInputError(
                f"Rank {rank} and dim {dim} need features [n, {config.feature_width}] and coords [n, 3], "
                f"not {list(feats.shape)} and {list(coords.shape)}."
            )
        trivec, density, features_dc = feats.float().split([3 * rank * dim, rank, 3 * rank], dim=1)
        return cls(
            positions=(coords.to(trivec) + 0.5) / resolution,
            trivec=trivec.unflatten(1, (rank, 3, dim)) + 1,
            density=density,
            features_dc=features_dc.unflatten(1, (rank, 3)),
            resolution=resolution,
        )
