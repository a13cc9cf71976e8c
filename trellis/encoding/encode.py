"""A mesh file to the structured latent of a model: the way back from an asset to what generated it."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from trellis.atomic import write_bytes
from trellis.conditioning import ImageEncoder
from trellis.encoding.load import load_mesh
from trellis.encoding.local_features import FEATURES, VoxelFeatures, local_features
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import DEFAULT_SIDE, NormalizedMesh, SourceMesh, normalize_mesh
from trellis.encoding.views import VIEWS, view_features
from trellis.encoding.voxelize import voxelize
from trellis.errors import CheckpointError, InvalidInputError
from trellis.families.acquire import obtain_model
from trellis.families.location import ModelLocation
from trellis.families.trellis_family import network_stem
from trellis.geometry.similarity import Similarity
from trellis.models import PipelineConfig, load_model
from trellis.progress import Progress
from trellis.runtime import Runtime
from trellis.sparse import SparseTensor
from trellis.stages import Stage

logger = logging.getLogger(__name__)

ENCODER_ROLE = "slat_encoder"
ENCODERS = (ENCODER_ROLE, "sparse_structure_encoder")
SECOND_FOLDER = "encoders"  # where models keep the encoders that generating does not need
STORED_KIND = "trellis structured latent 1"


@dataclass(frozen=True)
class EncodedMesh:
    """The structured latent of a mesh: what a model's decoders turn back into one.

    coords int32 [N, 3] and latent [N, C] float32 (the posterior's mean, in the units of the decoders) on a grid of
    `resolution`; to_cube: the map of the file's world into the unit cube of the model; model: its name.
    """

    coords: Tensor
    latent: Tensor
    resolution: int
    to_cube: Similarity
    model: str

    def sparse(self) -> SparseTensor:
        """The latent as a batch of one."""
        batch = torch.zeros_like(self.coords[:, :1])
        return SparseTensor.create(self.latent, torch.cat([batch, self.coords], 1), resolution=self.resolution)

    def save(self, path: str | Path) -> Path:
        """Write a .safetensors file in one step and return its path."""
        about = {
            "kind": STORED_KIND,
            "model": self.model,
            "resolution": self.resolution,
            "scale": self.to_cube.scale,
            "shift": self.to_cube.shift,
        }
        tensors = {"coords": self.coords.cpu().contiguous(), "latent": self.latent.cpu().contiguous()}
        return write_bytes(path, save(tensors, {"trellis": json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> "EncodedMesh":
        """Read what `save` wrote; raises InvalidInputError when the file is missing, damaged or another."""
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("trellis", "{}"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
            return _from_stored(about, tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"{path} is not a stored structured latent: {error}") from error


def _from_stored(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> EncodedMesh:
    if about.get("kind") != STORED_KIND:
        raise ValueError(f"its kind is {about.get('kind')!r}")
    x, y, z = (float(value) for value in about["shift"])
    found = EncodedMesh(
        coords=tensors["coords"].int(),
        latent=tensors["latent"].float(),
        resolution=int(about["resolution"]),
        to_cube=Similarity(float(about["scale"]), (x, y, z)),
        model=str(about["model"]),
    )
    found.sparse()  # checks shapes and ranges
    return found


def encode_file(
    path: str | Path,
    output: str | Path | None = None,
    *,
    model: str | Path = "nano",
    runtime: Runtime | None = None,
    up: str = "auto",
    views: int = VIEWS,
    progress: Progress | None = None,
) -> EncodedMesh:
    """Read a mesh file, encode it with `model`, and write the latent to `output` (.safetensors) if given.

    Raises InvalidInputError for an unusable file, CheckpointError for a model without an encoder, Cancelled.
    """
    runtime = runtime or Runtime.detect()
    location = obtain_model(str(model), runtime=runtime)
    encoded = encode_mesh(load_mesh(path, up=up), location, runtime=runtime, views=views, progress=progress)
    if output is not None:
        encoded.save(output)
    return encoded


@torch.inference_mode()
def encode_mesh(
    mesh: SourceMesh,
    model: ModelLocation,
    *,
    runtime: Runtime,
    views: int = VIEWS,
    progress: Progress | None = None,
) -> EncodedMesh:
    """The structured latent of a mesh of any size and place, for the decoders of `model`.

    The encoder's input width says what it sees in a voxel: 91 local numbers (the embedded model), or image features of
    `views` pictures (published ones). Raises CheckpointError for a model without an encoder or with one of neither
    kind, InvalidInputError for a mesh without a surface, Cancelled within one step of a wish to stop.
    """
    progress = progress or Progress()
    encoder = load_model(encoder_stem(model, ENCODER_ROLE), dtype=runtime.dtype).to(runtime.device)
    width, resolution = encoder.config.in_channels, encoder.config.resolution
    if width == FEATURES:
        placed = normalize_mesh(mesh.to(runtime.device), side=DEFAULT_SIDE)
        field = SolidField.create(placed.mesh, resolution=resolution, progress=progress)
        voxels = local_features(field, progress=progress)
    else:
        placed = normalize_mesh(mesh.to(runtime.device), side=1.0)
        voxels = _image_features(placed, model, runtime, width, resolution, views, progress)
    coords = torch.cat([torch.zeros_like(voxels.coords[:, :1]), voxels.coords], 1).to(runtime.device)
    features = voxels.features.to(runtime.device)
    mean, _ = encoder(SparseTensor.create(features, coords, resolution=resolution, batch_size=1))
    progress.report(Stage.ENCODE, 1, 1)
    logger.info("%d voxels at %d^3 encoded", len(coords), resolution)
    return EncodedMesh(coords[:, 1:], mean.feats.float(), resolution, placed.to_cube, model.name)


def _image_features(
    placed: NormalizedMesh,
    model: ModelLocation,
    runtime: Runtime,
    width: int,
    resolution: int,
    views: int,
    progress: Progress,
) -> VoxelFeatures:
    """Voxels that the surface touches, with the mean features of the pictures."""
    reference = PipelineConfig.read(model.description).image_cond_model
    if reference is None:
        raise CheckpointError(f"{model.name} names no image encoder, so its input of {width} numbers cannot be made.")
    images = ImageEncoder.from_pretrained(reference, model.folder, runtime).to(runtime.device)
    backbone: Any = images.backbone
    if backbone.config.hidden_size != width:
        raise CheckpointError(
            f"The encoder of {model.name} takes {width} numbers a voxel; known are {FEATURES} (local) and "
            f"{backbone.config.hidden_size} (of its image encoder)."
        )
    coords = voxelize(placed.mesh, resolution, progress=progress)
    features = view_features(placed.mesh, coords, images, resolution=resolution, views=views, progress=progress)
    return VoxelFeatures(coords, features, resolution)


def encoder_stem(model: ModelLocation, role: str) -> Path:
    """Where the model keeps one of ENCODERS, without the endings; raises CheckpointError when it has none."""
    if role in PipelineConfig.read(model.description).models:
        return network_stem(model, role)
    try:
        description = model.file(f"{SECOND_FOLDER}/{role}.json")
        model.file(f"{SECOND_FOLDER}/{role}.safetensors")
    except CheckpointError as error:
        raise CheckpointError(f"{model.name} has no {role}, so nothing can be encoded with it.") from error
    return description.with_suffix("")
