"""What a variant takes from its source: where the sampling starts."""

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from trellis.asset import Asset
from trellis.errors import InvalidInputError
from trellis.model_stages import ModelStages


def source_voxels(stages: ModelStages, source: Asset) -> Tensor:
    """The voxels int32 [N, 4] of an asset; raises InvalidInputError for one of a model of another grid."""
    resolution = stages.host.config("slat_flow_model").resolution
    if source.resolution != resolution:
        raise InvalidInputError(
            f"This asset is of {source.resolution}^3 voxels, those of {stages.name} are of {resolution}^3: choose the "
            "model that made it.",
            field="model",
        )
    return torch.nn.functional.pad(source.coords.to(stages.runtime.device).int(), (1, 0))


def latent_at(source: Asset, voxels: Tensor) -> Tensor:
    """The source's latents [N, C] at voxels [N, 4]; where it has none, that of its nearest voxel."""
    _, nearest = cKDTree(source.coords.cpu().numpy()).query(voxels[:, 1:].cpu().numpy())
    return source.latent.to(voxels.device)[torch.from_numpy(nearest).to(voxels.device)]
