"""The objects of data folders in the published layout, and what of them is trained on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trellis.conditioning.framing import frame_object
from trellis.dataset.latent_statistics import read_arrays
from trellis.dataset.layout import CAMERAS, CONDITIONED, METADATA, NORMALIZATION, VOXELIZED, DataFolder, voxel_numbers
from trellis.dataset.records import CAPTIONS, COUNT, SCORE, Row, has, read_metadata
from trellis.encoding.readers.files import DAMAGED_PICTURE
from trellis.encoding.readers.ply import read_points
from trellis.errors import InvalidInputError
from trellis.training.released_config import LatentStatistics

_HASHED = 8  # digits of a sha that say whether an object is held out


@dataclass(frozen=True)
class TrainingObject:
    """An object of a data folder; `voxels` is 0 where its row does not say."""

    sha: str
    folder: DataFolder
    voxels: int
    captions: tuple[str, ...]


def find_objects(
    roots: Sequence[Path], needed: Sequence[str], *, least_score: float, most_voxels: int | None
) -> tuple[list[TrainingObject], list[str]]:
    """The objects that have the `needed` columns of metadata.csv, by their sha, and notes on those left out.

    An object without a score passes. Raises InvalidInputError for a folder of which none is left, saying why.
    """
    found: dict[str, TrainingObject] = {}
    unusable: list[Path] = []
    lacking, low, large, unscored = dict.fromkeys(needed, 0), 0, 0, 0
    for root in roots:
        rows = read_metadata(DataFolder(root))
        if not rows:
            raise InvalidInputError(f"{root} has no objects: {METADATA} is missing or empty (run.sh dataset makes it).")
        usable = 0
        for sha, row in rows.items():
            missing = [column for column in needed if not has(row, column)]
            lacking |= {column: lacking[column] + 1 for column in missing}
            source, score = _read_row(root, sha, row)
            unscored += not missing and score is None
            is_low = score is not None and score < least_score
            is_large = most_voxels is not None and source.voxels > most_voxels
            low, large = low + is_low, large + is_large
            if not missing and not is_low and not is_large:
                usable += 1
                found.setdefault(sha, source)
        if not usable:
            unusable.append(root)
    notes = [f"{count:,} objects lack {column}." for column, count in lacking.items() if count]
    if low:
        notes.append(f"{low:,} objects have a score below {least_score}.")
    if large:
        notes.append(f"{large:,} objects have more than {most_voxels:,} voxels (max_num_voxels).")
    if unscored:
        notes.append(f"{unscored:,} objects have no aesthetic_score; they are taken.")
    if unusable:
        there = sorted({column for root in unusable for column in DataFolder(root).columns()})
        raise InvalidInputError(
            f"No object of {', '.join(map(str, unusable))} can be trained on. {' '.join(notes)} "
            f"The folder has {', '.join(there) or 'nothing'}."
        )
    return [found[sha] for sha in sorted(found)], notes


def _read_row(root: Path, sha: str, row: Row) -> tuple[TrainingObject, float | None]:
    """An object and its score."""
    try:
        voxels, captions = int(float(row.get(COUNT) or 0)), tuple(json.loads(row.get(CAPTIONS) or "[]"))
        score = float(row[SCORE]) if row.get(SCORE) else None
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{root / METADATA} has a wrong value for {sha}: {error}.") from error
    return TrainingObject(sha, DataFolder(root), voxels, captions), score


def held_out_part(objects: Sequence[TrainingObject], share: float) -> tuple[list[TrainingObject], list[TrainingObject]]:
    """Those that are trained on, and the `share` by sha that is only measured with."""
    held = [object for object in objects if int(object.sha[:_HASHED], 16) < share * 16**_HASHED]
    chosen = {object.sha for object in held}
    return [object for object in objects if object.sha not in chosen], held


def read_occupancy(source: TrainingObject, resolution: int) -> Tensor:
    """Whether each voxel is occupied: bool [1, R, R, R]. Raises InvalidInputError for a file of another grid."""
    path = source.folder.path(VOXELIZED, source.sha)
    found = voxel_numbers(read_points(path), (resolution,))
    if found is None:
        raise InvalidInputError(
            f"{path} holds no voxels of a grid of {resolution} a side; see dataset.args.resolution."
        )
    dense = torch.zeros(1, resolution, resolution, resolution, dtype=torch.bool)
    x, y, z = torch.from_numpy(found[0]).unbind(1)
    dense[0, x, y, z] = True
    return dense


def read_structure(source: TrainingObject, column: str) -> Tensor:
    """The structure latent, float32 [C, r, r, r]."""
    return torch.from_numpy(_arrays(source, column, "mean")[0])


def read_latent(source: TrainingObject, column: str) -> tuple[Tensor, Tensor]:
    """Voxels int32 [N, 3] and latents float32 [N, C]."""
    coords, feats = _arrays(source, column, "coords", "feats")
    return torch.from_numpy(coords).int(), torch.from_numpy(feats)


def _arrays(source: TrainingObject, column: str, *names: str) -> list[np.ndarray]:
    arrays = read_arrays(source.folder, column, source.sha)
    if missing := [name for name in names if name not in arrays]:
        raise InvalidInputError(f"{source.folder.path(column, source.sha)} has no array {missing[0]}.")
    return [arrays[name] for name in names]


def read_statistics(roots: Sequence[Path], column: str) -> LatentStatistics:
    """The stats.json beside latents. Raises InvalidInputError when it is missing or damaged."""
    path = DataFolder(roots[0]).folder(column) / NORMALIZATION
    try:
        return LatentStatistics.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is missing or damaged: state dataset.args.normalization, or run stat_latent."
        ) from error


def read_pictures(
    source: TrainingObject, *, views: int, draws: torch.Generator, read: Callable[[Path], Tensor | None]
) -> Tensor:
    """Random condition pictures of an object, one after the other, as `read` gives them (see `read_picture`).

    Those that show nothing are left out: a thin sheet from its edge covers no pixel. Raises InvalidInputError for
    pictures that are missing or damaged, or too few.
    """
    paths = _picture_paths(source)
    found = list[Tensor]()
    for number in torch.randperm(len(paths), generator=draws).tolist():
        if len(found) < views:
            picture = read(paths[number])
            found += [] if picture is None else [picture]
    if len(found) < views:
        folder = source.folder.path(CONDITIONED, source.sha)
        raise InvalidInputError(f"{folder} has {len(found)} pictures of something, condition_views is {views}.")
    return torch.stack(found)


@lru_cache(1 << 16)
def _picture_paths(source: TrainingObject) -> tuple[Path, ...]:
    folder = source.folder.path(CONDITIONED, source.sha)
    return tuple(folder / str(frame["file_path"]) for frame in read_frames(source))


def read_frames(source: TrainingObject) -> list[dict[str, Any]]:
    """The condition pictures' names and cameras, as transforms.json states them. Raises InvalidInputError."""
    path = source.folder.path(CONDITIONED, source.sha) / CAMERAS
    try:
        return list(json.loads(path.read_bytes())["frames"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error


def read_picture(path: Path, size: int) -> Tensor | None:
    """A condition picture framed on black, uint8 [3, size, size]: the box of alpha > 0, times 1.2; None without one."""
    try:
        with Image.open(path) as picture:
            cutout = picture.convert("RGBA")
        if cutout.getchannel("A").getextrema() == (0, 0):
            return None
        framed = frame_object(cutout, size, above=0)[0]
    except DAMAGED_PICTURE as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
    return torch.from_numpy(framed).permute(2, 0, 1)
