"""What is made of one mesh file, and the loop over many that may be killed at any moment."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.dataset.blender import Blender
from trellis.dataset.cameras import RENDERER, condition_cameras
from trellis.dataset.layout import (
    CONDITIONED,
    FEATURE,
    LATENT,
    RENDERED,
    STRUCTURE,
    VOXELIZED,
    DataFolder,
    count_points,
    write_arrays,
    write_voxels,
)
from trellis.dataset.meshes import training_mesh
from trellis.dataset.pictures import CONDITION_SIZE, VIEW_SIZE, studio_pictures, write_pictures
from trellis.dataset.records import COUNT, KEY, PLACE, Row, add_failure, append, drop_failures, failures
from trellis.editing.from_mesh import image_features_of
from trellis.encoding.encode import cube_side
from trellis.encoding.local_features import FEATURES
from trellis.encoding.source_mesh import NormalizedMesh, SourceMesh, normalize_mesh
from trellis.encoding.voxelize import voxelize
from trellis.errors import CheckpointError, InvalidInputError
from trellis.families.trellis_family import ENCODER_FOLDER, ENDINGS, network_stem
from trellis.geometry.cameras import Cameras, multiview_cameras
from trellis.opening import Pipeline
from trellis.pipeline import TrellisPipeline
from trellis.progress import Progress
from trellis.sparse import SparseTensor

logger = logging.getLogger(__name__)

LOCAL, PUBLISHED_FEATURES = "local91", "dinov2_vitl14_reg"
# What one object can raise without the next being concerned: a bad file, too little memory, a shape nobody thought of.
OF_ONE_OBJECT = (ValueError, MemoryError, RuntimeError, ArithmeticError, LookupError, TypeError)


@dataclass(frozen=True)
class Share:
    """The objects of rank `rank` of `count`: which they are depends on their sha alone."""

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise InvalidInputError(f"rank must be 0 to world_size - 1, not {self.rank} of {self.count}.")

    def takes(self, sha: str) -> bool:
        """Whether the object is one of these."""
        return int(sha[:16], 16) % self.count == self.rank


@dataclass(frozen=True)
class Count:
    """How far a rank is: objects that are there now, that failed, that are left, and seconds since it began."""

    there: int
    failed: int
    left: int
    made: int
    seconds: float


class ModelStep:
    """Voxels, latents and condition pictures of a mesh file as a model's encoders know it."""

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        *,
        folder: DataFolder,
        model: TrellisPipeline,
        views: int,
        threads: int,
        blender: Blender | None = None,
    ) -> None:
        """columns: VOXELIZED, CONDITIONED, RENDERED, FEATURE, LATENT or STRUCTURE; the last three are named after the
        encoders. views: pictures an object. blender: draws them. Raises CheckpointError for features of a model
        that reads none.
        """
        self.name, self.folder, self.model, self.views, self.threads = name, folder, model, views, threads
        self.blender = blender
        self.side = cube_side(model.host.config("slat_encoder").in_channels)
        named = self._named = model_columns(model)
        if FEATURE in columns and named[FEATURE].endswith(LOCAL):
            raise CheckpointError(
                f"{model.name} reads no pictures of a mesh: go on with encode_latent, without features."
            )
        self.columns = [named.get(column, column) for column in columns]

    @torch.inference_mode()
    def make(self, row: Row, missing: Sequence[str]) -> None:
        """Make what is missing of an object; raises one of OF_ONE_OBJECT where that cannot be done."""
        path, sha = self.folder.root / row[PLACE], row[KEY]
        features = self.folder.path(self._named[FEATURE], sha)
        if self.columns == [self._named[LATENT]] and features.is_file():
            indices, latent = self._encode_features(features)
            write_arrays(self.folder.path(self.columns[0], sha), feats=latent.cpu().numpy(), coords=indices)
            return
        mesh = training_mesh(path)
        if not set(missing) <= {CONDITIONED, RENDERED}:
            self._encode(mesh, sha, missing)
        for column, cameras_of in ((CONDITIONED, condition_cameras), (RENDERED, multiview_cameras)):
            if column in missing:
                placed = normalize_mesh(mesh, side=self.side)
                self._draw(path, placed, cameras_of(self.views, sha), self.folder.path(column, sha))

    def _draw(self, path: Path, placed: NormalizedMesh, cameras: Cameras, folder: Path) -> None:
        multiview = folder.parent == self.folder.folder(RENDERED)
        size, mesh = VIEW_SIZE if multiview else CONDITION_SIZE, placed.mesh if multiview else None
        if self.blender is None:
            shown = placed.mesh.to(self.model.runtime.device)
            pictures, name = studio_pictures(shown, cameras, size=size), RENDERER
        else:
            pictures, name = self.blender.draw(path, cameras, size=size, side=self.side), self.blender.version
        write_pictures(folder, pictures, cameras, placed.to_cube, threads=self.threads, renderer=name, mesh=mesh)

    def _encode(self, mesh: SourceMesh, sha: str, missing: Sequence[str]) -> None:
        if self.columns == [self._named[FEATURE]]:
            mesh = normalize_mesh(mesh, side=self.side).mesh.to(self.model.runtime.device)
            coords = voxelize(mesh, self.model.host.config("slat_encoder").resolution)
            tokens = image_features_of(self.model, mesh, coords, progress=Progress())
            arrays = {"indices": coords.cpu().byte().numpy(), "patchtokens": tokens.cpu().half().numpy()}
            write_arrays(self.folder.path(self.columns[0], sha), **arrays)
            return
        asset = self.model.load_mesh(mesh, front="0", progress=Progress())
        coords = asset.coords.cpu()
        for column in missing:
            file = self.folder.path(column, sha)
            if column == VOXELIZED:
                write_voxels(file, coords.numpy(), asset.resolution)
            elif column.startswith(LATENT):
                write_arrays(file, feats=asset.latent.cpu().numpy(), coords=coords.byte().numpy())
            elif column.startswith(STRUCTURE):
                mean = self.model.structure_mean(torch.nn.functional.pad(coords, (1, 0)))
                write_arrays(file, mean=mean[0].float().cpu().numpy())

    def _encode_features(self, path: Path) -> tuple[NDArray, Tensor]:
        """Voxels uint8 [N, 3] and latents [N, C] of what `extract_feature` has written."""
        device = self.model.runtime.device
        with np.load(path) as stored:
            indices, tokens = stored["indices"], torch.from_numpy(stored["patchtokens"]).float()
        coords = torch.nn.functional.pad(torch.from_numpy(indices).int(), (1, 0)).to(device)
        resolution = self.model.host.config("slat_encoder").resolution
        features = SparseTensor.create(tokens.to(device), coords, resolution=resolution, batch_size=1)
        return indices, self.model.encode_latent(features)


def encoding_model(model: Pipeline) -> TrellisPipeline:
    """The model, if it has the encoders that make latents; else raises CheckpointError."""
    if not isinstance(model, TrellisPipeline) or "encode" not in model.operations:
        raise CheckpointError(f"{model.name} cannot encode meshes, so it makes no latents: choose another model.")
    return model


def model_columns(model: TrellisPipeline) -> dict[str, str]:
    """The columns of an opened model's features and latents, by FEATURE, LATENT and STRUCTURE.

    Published encoders are known by their files' names, those of a model's own folder by their weights too: a copy of
    them, as a fine-tuned model has it, makes the same latents, and others never pass for these.
    """
    assert model.location is not None, "it was opened from somewhere"
    features = LOCAL if model.host.config("slat_encoder").in_channels == FEATURES else PUBLISHED_FEATURES
    names = {}
    for role in ("slat_encoder", "sparse_structure_encoder"):
        stem = network_stem(model.location, role)
        own = stem.parent.name == ENCODER_FOLDER
        names[role] = f"{stem.name}_{_digest(stem)}" if own else stem.name
    latent, structure = names["slat_encoder"], names["sparse_structure_encoder"]
    return {
        FEATURE: f"{FEATURE}{features}",
        LATENT: f"{LATENT}{features}_{latent}",
        STRUCTURE: f"{STRUCTURE}{structure}",
    }


def _digest(stem: Path) -> str:
    """What tells the weights of a network from any others: eight digits."""
    with stem.with_name(stem.name + ENDINGS[1]).open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:8]


def carry_out(
    step: ModelStep,
    rows: Mapping[str, Row],
    folder: DataFolder,
    *,
    share: Share,
    retry: bool = False,
    tell: Callable[[Count], None] = lambda count: None,
) -> Count:
    """Carry a step out on those of `rows` in the share that lack what it makes, and record each.

    Every file appears complete, so the run may end at any moment and go on later: with the same bytes, whatever the
    ranks. An object that fails is noted with its reason and left alone from then on, unless `retry`. Raises OSError
    where nothing more can be written, CheckpointError, Cancelled.
    """
    # By the last digits: trainers hold objects out by the first, and learn from folders that are not complete too.
    own = sorted((sha for sha in rows if share.takes(sha)), key=lambda sha: sha[::-1])
    made = {column: folder.made(column) for column in step.columns}
    failed = {} if retry else failures(folder, step.name)
    for sha, path in list(folder.leftovers()):
        if sha in rows and share.takes(sha):
            path.unlink(missing_ok=True)
    waiting = [sha for sha in own if any(sha not in made[column] for column in step.columns)]
    there = len(own) - len(waiting)
    waiting = [sha for sha in waiting if sha not in failed]
    began, wrong, done = time.monotonic(), len(own) - there - len(waiting), 0
    if retry and waiting:
        drop_failures(folder, step.name, set(waiting))
    for number, sha in enumerate(waiting):
        missing = [column for column in step.columns if sha not in made[column]]
        try:
            step.make(rows[sha], missing)
        except OF_ONE_OBJECT as error:
            logger.warning("%s: %s", rows[sha][PLACE], error)
            reason = str(error) if isinstance(error, InvalidInputError) else f"{type(error).__name__}: {error}"
            add_failure(folder, step.name, share.rank, rows[sha], reason)
            wrong += 1
        else:
            record(folder, sha, missing, share.rank)
            done += 1
        tell(Count(there + done, wrong, len(waiting) - number - 1, number + 1, time.monotonic() - began))
    return Count(there + done, wrong, 0, len(waiting), time.monotonic() - began)


def record(folder: DataFolder, sha: str, columns: Sequence[str], rank: int) -> None:
    """Add what an object has now to the tables of a rank."""
    for column in columns:
        row = {KEY: sha, column: "True"}
        if column == VOXELIZED:
            row[COUNT] = str(count_points(folder.path(column, sha)) or "")
        append(folder.root / f"{column}_{rank}.csv", row)


def settle(step: ModelStep, folder: DataFolder) -> None:
    """Forget failures of objects that have by now what the step makes."""
    complete = set.intersection(*(folder.made(column) for column in step.columns))
    drop_failures(folder, step.name, complete)
