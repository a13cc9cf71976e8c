"""What a model makes of the objects of a data folder, beside the nearest of those that it was trained on."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trellis.dataset.layout import CONDITIONED, VOXELIZED
from trellis.training import baselines, metrics
from trellis.training.folder_data import TrainingObject, find_objects, read_frames, read_occupancy, read_picture
from trellis.training.generate import BatchGenerator

# Where most people stand who take a picture of a thing: before it, a little above and to one side.
_YAW, _PITCH = math.radians(30), math.radians(20)
_BATCH = 32
SEEDS = 5  # that the model's scores are the mean of: with one, which all objects share, the mean moves by 0.02

logger = logging.getLogger(__name__)


def evaluate(folder: Path, tested: Path, known: Path | None, *, device: torch.device, seed: int = 0) -> dict[str, Any]:
    """IoU of occupied voxels from one picture of each object in `tested`: means by method, and each object's.

    Methods: the model, over SEEDS seeds from `seed` on; of the objects in `known`, if given, the one whose picture is
    nearest by features, and the one that overlaps best, which no search could beat. Raises InvalidInputError,
    CheckpointError.
    """
    generator = BatchGenerator(folder, device)
    sources, others = _objects(tested), [] if known is None else _objects(known)
    shared = len({source.sha for source in sources} & {other.sha for other in others})
    if shared:
        logger.warning("note: %d of the objects are known ones: what is known of them is no measure.", shared)
    tokens, truth = _tokens(sources, generator), _grids(sources, generator)
    each_seed = []
    for number in range(seed, seed + SEEDS):
        found = torch.cat([generator.structure(part.to(device), seed=number).cpu() for part in tokens.split(_BATCH)])
        each_seed.append(metrics.voxel_iou(found, truth))
    scores = {"model": torch.stack(each_seed).mean(0)}
    if others:
        candidates, features = _grids(others, generator), baselines.token_features(_tokens(others, generator))
        nearest = baselines.nearest(baselines.token_features(tokens), features)
        best = torch.stack([metrics.voxel_iou(one.expand_as(candidates), candidates).max() for one in truth])
        scores |= {"nearest_features": metrics.voxel_iou(candidates[nearest], truth), "best_known": best}
    return {
        "objects": len(sources),
        "seeds": list(range(seed, seed + SEEDS)),
        "known": len(others),
        "summary": {name: round(values.mean().item(), 4) for name, values in scores.items()},
        "each": [
            {"sha256": source.sha} | {name: round(values[index].item(), 4) for name, values in scores.items()}
            for index, source in enumerate(sources)
        ],
    }


def _objects(root: Path) -> list[TrainingObject]:
    return find_objects([root], [VOXELIZED, CONDITIONED], least_score=0, most_voxels=None)[0]


def _tokens(sources: list[TrainingObject], generator: BatchGenerator) -> Tensor:
    """Condition tokens of one picture of each object, on the CPU."""
    size = int(generator.encoder.image_size)
    nothing = torch.zeros(3, size, size, dtype=torch.uint8)
    found = (read_picture(front_picture(source), size) for source in sources)
    pictures = torch.stack([nothing if picture is None else picture for picture in found])
    return torch.cat([generator.encode(part).cpu() for part in pictures.split(_BATCH)])


def _grids(sources: list[TrainingObject], generator: BatchGenerator) -> Tensor:
    return torch.cat([read_occupancy(source, generator.resolution) for source in sources])


def front_picture(source: TrainingObject) -> Path:
    """The condition picture of an object that was taken nearest to where people stand."""
    # The front is towards -y; either side of it counts.
    place = torch.tensor([math.sin(_YAW) * math.cos(_PITCH), -math.cos(_YAW) * math.cos(_PITCH), math.sin(_PITCH)])

    def along(frame: dict[str, Any]) -> float:
        eye = torch.tensor(frame["transform_matrix"])[:3, 3]
        eye[0] = eye[0].abs()
        return float(eye @ place / eye.norm())

    frame = max(read_frames(source), key=along)
    return source.folder.path(CONDITIONED, source.sha) / frame["file_path"]
