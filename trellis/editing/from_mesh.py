"""A mesh file as an asset: read, turned, placed in the model's cube, and encoded."""

import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trellis.asset import Asset, framed_picture
from trellis.conditioning.image_encoder import ImageEncoder
from trellis.conditioning.pictures import PictureSource, prepare_image
from trellis.conditions import ENCODER_ROLE
from trellis.encoding.encode import encoder_input
from trellis.encoding.load import load_mesh
from trellis.encoding.local_features import FEATURES
from trellis.encoding.options import FRONT_CHOICES
from trellis.encoding.source_mesh import SourceMesh, normalize_mesh
from trellis.encoding.views import VIEWS, view_features
from trellis.errors import CheckpointError, InvalidInputError
from trellis.export.picture_camera import turns_to_front
from trellis.families.family import PICTURES
from trellis.geometry.similarity import Similarity
from trellis.kept import FileSurface
from trellis.memory import Effort
from trellis.model_stages import ModelStages
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.sparse import SparseTensor
from trellis.stages import Stage

logger = logging.getLogger(__name__)


def asset_of_mesh(
    stages: ModelStages,
    source: str | Path | SourceMesh,
    *,
    up: str = "auto",
    front: str = "auto",
    picture: PictureSource | None = None,
    progress: Progress,
) -> Asset:
    """The asset of a mesh, without representations; see `TrellisPipeline.load_mesh`.

    Its latent is the posterior's mean in the units of the decoders.
    """
    if front not in FRONT_CHOICES:
        raise InvalidInputError(f"front must be one of {', '.join(FRONT_CHOICES)}, not {front!r}.", field="front")
    mesh = source if isinstance(source, SourceMesh) else load_mesh(source, up=up)
    mesh = mesh.to(stages.runtime.device)
    framed = None
    if front == "auto" and picture is not None:
        framed = framed_picture(prepare_image(picture, runtime=stages.runtime))
    surface = normalize_mesh(mesh).mesh
    turns, remarks = turns_to_front(front, Mesh(surface.vertices, surface.faces.int()), framed, progress=progress)
    mesh = turned(mesh, turns)
    encoder = stages.host.config("slat_encoder")

    def image_features(placed: SourceMesh, coords: Tensor) -> Tensor:
        return image_features_of(stages, placed, coords, progress=progress)

    voxels, to_cube, notes = encoder_input(
        mesh,
        width=encoder.in_channels,
        resolution=encoder.resolution,
        image_features=image_features,
        progress=progress,
    )
    device = stages.runtime.device
    coords = torch.nn.functional.pad(voxels.coords.to(device), (1, 0))
    features = SparseTensor.create(voxels.features.to(device), coords, resolution=voxels.resolution, batch_size=1)
    latent = stages.encode_latent(features)
    progress.report(Stage.ENCODE, 1, 1)
    logger.info("%d voxels at %d^3 encoded", len(coords), voxels.resolution)
    to_cube = Similarity(to_cube.scale, to_cube.shift)
    placed = replace(mesh, vertices=to_cube.apply(mesh.vertices))
    return Asset(
        gaussians=None,
        mesh=None,
        radiance_field=None,
        coords=voxels.coords.to(device),
        latent=latent,
        resolution=voxels.resolution,
        prepared=(),
        notes=(*mesh.notes, *remarks, *notes),
        to_cube=replace(to_cube, turns=turns),
        surface=FileSurface(placed),
        notice=mesh.notice,
    )


def turned(mesh: SourceMesh, turns: int) -> SourceMesh:
    """The mesh after so many quarter turns about z."""
    turn = Similarity(turns=turns)
    normals = None if mesh.normals is None else turn.apply(mesh.normals)
    return mesh if turns == 0 else replace(mesh, vertices=turn.apply(mesh.vertices), normals=normals)


def image_features_of(stages: ModelStages, mesh: SourceMesh, coords: Tensor, *, progress: Progress) -> Tensor:
    """What a published encoder reads of voxels [N, 3]: image features [N, k] of a mesh in the unit cube.

    Raises CheckpointError where the model has no image encoder, or its latent encoder reads something else.
    """
    config = stages.host.config("slat_encoder")
    width = config.in_channels
    if PICTURES not in stages.inputs:
        raise CheckpointError(
            f"{stages.name} names no image encoder, so its encoder's input of {width} numbers cannot be made: encode "
            "with the model for pictures."
        )

    def work(images: ImageEncoder, effort: Effort) -> Tensor:
        known = images.backbone.config.hidden_size
        if known != width:
            raise CheckpointError(
                f"The encoder of {stages.name} takes {width} numbers a voxel; known are {FEATURES} (local) and {known} "
                "(of its image encoder)."
            )
        return view_features(
            mesh.to(effort.device), coords.to(effort.device), images, resolution=config.resolution,
            views=VIEWS, progress=progress,
        )  # fmt: skip

    return stages.host.run(ENCODER_ROLE, work)
