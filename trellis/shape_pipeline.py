"""Pictures become a shape of a Hunyuan3D-2 model, which a TRELLIS model colours: the order of the stages.

pictures -> tokens [1, T, C] -> latent [1, L, c] -> surface -> mesh; voxels of the mesh -> TRELLIS latent -> Gaussians
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trellis.asset import Asset
from trellis.conditioning import PreparedImage, prepare_image
from trellis.conditioning.pictures import PictureSource
from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import EncoderSizes
from trellis.conditions import ENCODER_ROLE
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import CheckpointError, InvalidInputError
from trellis.families.family import GENERATE, PICTURES
from trellis.families.hunyuan_config import CONFIG_FILE, HunyuanConfig, read_config, read_decoder_config
from trellis.families.location import ModelLocation
from trellis.geometry.similarity import IDENTITY
from trellis.memory import MemoryPlan, ModelHost
from trellis.model_stages import least_steps, override
from trellis.models import vecset_files
from trellis.models.network import Torso
from trellis.models.pipeline_config import DECODERS, MOST_STEPS
from trellis.models.vecset_decoder import VecsetDecoder
from trellis.models.vecset_flow import VecsetFlow
from trellis.models.vecset_sizes import WEIGHTS_FILE, DecoderSizes
from trellis.pipeline import OpenedModel, TrellisPipeline
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.representations.implicit_surface import check_resolution
from trellis.retexturing.placement import PlacedMesh
from trellis.runtime import Runtime
from trellis.shape_stages import DECODER, ENCODER, FLOW, ROLES, ShapeStages
from trellis.stages import Stage

SURFACE_RESOLUTION = 256
GREY = 0.6  # of a mesh that no model has coloured
NO_COLORS = (
    "No TRELLIS model coloured the mesh: it is grey where the picture does not show it, and hidden sides may have "
    "wrong colours. A TRELLIS model for pictures does better: fetch TRELLIS-image-large."
)
ONE_PICTURE = "This model makes the shape of one picture: the first. The others give colours alone."


class ShapePipeline(OpenedModel, ShapeStages):
    """What one shape model makes of pictures of an object, and a TRELLIS model's colours on it."""

    is_demo = False
    inputs: tuple[str, ...] = (PICTURES,)
    operations: tuple[str, ...] = (GENERATE,)
    representations: tuple[str, ...] = ("gaussians", "mesh")

    @torch.inference_mode()
    def __call__(
        self,
        pictures: PictureSource | Sequence[PictureSource],
        *,
        views: Sequence[str] | None = None,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        surface_resolution: int = SURFACE_RESOLUTION,
        texture: TrellisPipeline | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        representations: Sequence[str] = ("gaussians", "mesh"),
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Asset:
        """Generate an asset from one picture, or from pictures of the sides that `views` names.

        views: of "front", "left", "back" and "right", one for each picture; None: in this order. Models for one picture
        make the shape of the first. `structure_*` steer the shape, `latent_*`, `multi_image` and `speed` the colours;
        None is the model's own. surface_resolution: cells along the cube, 64 to 512. texture: the opened TRELLIS model
        for pictures that colours the mesh; without one it is grey, with a note. Raises InvalidInputError for an
        unusable picture or option, TrellisError where there is no surface, Cancelled within one step of a wish to stop.
        """
        progress = progress or Progress()
        sources: list[Any] = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
        sides = self._sides(len(sources), views)
        steps, guidance = self._sampling(structure_steps, structure_guidance)
        check_resolution(surface_resolution)
        self.check_makes(representations)
        if "gaussians" not in representations:
            texture = None
        if texture is not None:
            least = least_steps(sources)
            sampler = override(texture.config.latent_sampler, "latent", latent_steps, latent_guidance, least=least)
            self._share_memory(texture)
        generator = torch.Generator().manual_seed(seed)
        with self.host.in_order(_roles(texture)):
            prepared = [
                prepare_image(sources[i], background=background, runtime=self.runtime)
                for i in progress.steps(Stage.PREPARE, len(sources))
            ]
            condition = None
            if texture is not None:
                condition = texture.read([image.cutout for image in prepared], background="whole", progress=progress)
            tokens = self.encode(prepared[: max(1, len(sides))], sides, progress)
            latent = self.sample(tokens, steps=steps, guidance=guidance, generator=generator, progress=progress)
            mesh = self.decode(latent, surface_resolution, progress)
            notes = [*self._picture_notes(prepared), *self.host.take_notes()]
            if texture is None or condition is None:
                return _uncoloured(mesh, prepared, notes, wanted="gaussians" in representations)
            voxels = PlacedMesh(SourceMesh.from_mesh(mesh), mesh, IDENTITY).voxels(
                self.host.config("slat_flow_model").resolution, local=texture.local_voxels, progress=progress
            )
            colours = texture.sample_latent(condition, voxels, sampler, generator, multi_image, progress, speed)
            made = texture.decode(colours, ("gaussians",), condition.pictures, progress)
        return replace(made, mesh=mesh, notes=(*notes, *made.notes))

    def _sides(self, count: int, views: Sequence[str] | None) -> tuple[str, ...]:
        """The side that each picture shows; none for a model of one picture."""
        known = self.config.views
        if count == 0:
            raise InvalidInputError("Give at least one picture.")
        if not known:
            if views is not None:
                message = f"{self.name} takes one picture of any side: leave views out."
                raise InvalidInputError(message, field="views")
            return ()
        sides = tuple(known[:count] if views is None else views)
        if len(sides) != count or len(set(sides)) != count or not set(sides) <= set(known):
            message = f"{self.name} takes pictures of {', '.join(known)}, each once: name one of them for each picture."
            raise InvalidInputError(message, field="views")
        return sides

    def _sampling(self, steps: int | None, guidance: float | None) -> tuple[int, float]:
        steps = self.config.steps if steps is None else steps
        guidance = self.config.guidance if guidance is None else guidance
        if not 1 <= steps <= MOST_STEPS:
            raise InvalidInputError(f"structure_steps must be 1 to {MOST_STEPS}, not {steps}.")
        if not 0 <= guidance < math.inf:
            raise InvalidInputError(f"structure_guidance must be at least 0, not {guidance}.")
        return steps, guidance

    def _share_memory(self, texture: TrellisPipeline) -> None:
        """One host lends the networks of both: a budget and a shortage count for all of them."""
        if texture.host is not self.host:
            self.host.adopt(texture.host, [role for role in texture.host.roles if role not in ROLES])
            texture.host = self.host

    def _picture_notes(self, prepared: Sequence[PreparedImage]) -> list[str]:
        notes = [note for image in prepared for note in image.notes]
        return [*notes, ONE_PICTURE] if len(prepared) > 1 and not self.config.views else notes


def _uncoloured(mesh: Mesh, prepared: Sequence[PreparedImage], notes: Sequence[str], *, wanted: bool) -> Asset:
    """The asset of a mesh without a model's colours; a note says so where they were asked for."""
    grey = mesh.vertices.new_full((len(mesh.vertices), 3), GREY)
    return Asset(
        gaussians=None,
        mesh=replace(mesh, attributes=grey),
        radiance_field=None,
        coords=mesh.faces.new_zeros(0, 3),
        latent=mesh.vertices.new_zeros(0, 8),
        resolution=1,
        prepared=tuple(prepared),
        notes=(*notes, NO_COLORS) if wanted else tuple(notes),
    )


def _roles(texture: TrellisPipeline | None) -> tuple[str, ...]:
    """The networks of a generation in the order of their stages."""
    if texture is None:
        return ROLES
    return (ENCODER_ROLE, *ROLES, "slat_flow_model", DECODERS["gaussians"])


def open_shape_pipeline(location: ModelLocation, *, runtime: Runtime, plan: MemoryPlan | None) -> ShapePipeline:
    """The pipeline of a shape model: a folder with `config.yaml` and `model.fp16.safetensors`.

    Its decoder is the turbo one where that lies in the folder, beside it or in the folder of models, under its
    published name (see `DECODER_FOLDERS`). Raises CheckpointError for files that are missing or wrong.
    """
    config = read_config(location.description)
    weights = vecset_files.weights_file(location.folder)
    vecset_files.check_sections(weights)
    sizes, decoder_weights, prefix = _decoder_files(location, config, weights)
    loaders: dict[str, Callable[[], nn.Module]] = {
        ENCODER: lambda: _load_encoder(config.encoder, weights, runtime),
        FLOW: lambda: _load(lambda: VecsetFlow(config.flow), weights, vecset_files.FLOW, runtime),
        DECODER: lambda: _load(lambda: VecsetDecoder(sizes), decoder_weights, prefix, runtime),
    }
    host = ModelHost(loaders, device=runtime.device, plan=plan)
    return ShapePipeline(location.name, config, host=host, runtime=runtime)


def _decoder_files(location: ModelLocation, config: HunyuanConfig, weights: Path) -> tuple[DecoderSizes, Path, str]:
    """Sizes, weights and their prefix: of the turbo decoder where it is here, else of the model's own."""
    places = [location.folder, location.folder.parent, location.runtime.model_folder]
    for folder in (place / config.decoder_folder for place in places if place is not None):
        if (folder / WEIGHTS_FILE).is_file():
            sizes = read_decoder_config(folder / CONFIG_FILE)
            if (sizes.num_latents, sizes.embed_dim) != (config.decoder.num_latents, config.decoder.embed_dim):
                raise CheckpointError(f"{folder} does not fit {location.name}: its latents have another shape.")
            return sizes, folder / WEIGHTS_FILE, ""
    return config.decoder, weights, vecset_files.DECODER


def _load(make: Callable[[], Torso], weights: Path, prefix: str, runtime: Runtime) -> Torso:
    with torch.device("meta"):
        model = make()
    model.set_precision(runtime.dtype)
    model.set_attention(runtime.attention)
    model.load_state_dict(vecset_files.read_section(weights, model.state_dict(), prefix=prefix), assign=True)
    return model


def _load_encoder(sizes: EncoderSizes, weights: Path, runtime: Runtime) -> ShapeEncoder:
    with torch.device("meta"):
        encoder = ShapeEncoder(sizes)
    encoder.set_precision(runtime.dtype)
    found = vecset_files.read_section(weights, encoder.backbone.state_dict(), prefix=vecset_files.ENCODER)
    encoder.backbone.load_state_dict(found, assign=True)
    return encoder
