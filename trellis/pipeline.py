"""A picture becomes a 3D asset: the only place that knows the order of the stages.

pictures -> PreparedImage -> condition [B, L, C] -> voxels int32 [N, 4] -> structured latent [N, 8]
         -> Gaussians | mesh | radiance field -> files
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from trellis.asset import Asset
from trellis.conditioning import PreparedImage
from trellis.conditioning.pictures import PictureSource
from trellis.conditioning.view import PictureView, Window
from trellis.conditions import ENCODER_ROLE, Condition, ConditionReader, PictureReader, TextReader
from trellis.editing.edit import ONE_OF, EditOptions, edit_asset
from trellis.editing.region import Box, Region
from trellis.encoding.encode import ENCODERS, encoder_stem
from trellis.errors import CheckpointError, InvalidInputError, TrellisError
from trellis.families.family import GENERATE
from trellis.families.location import ModelLocation
from trellis.families.trellis_family import NANO, network_stem
from trellis.flow_sampling import open_session, override, sample_flow
from trellis.memory import Effort, MemoryPlan, ModelHost
from trellis.models import PipelineConfig, SamplerConfig, load_model
from trellis.models.latent_decoders import GaussianDecoder, MeshDecoder, RadianceFieldDecoder
from trellis.models.latent_flow import LatentFlow
from trellis.models.pipeline_config import DECODERS
from trellis.models.structure_flow import StructureFlow
from trellis.models.structure_vae import StructureDecoder, StructureEncoder
from trellis.opening import open_model
from trellis.progress import Progress
from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField, RadianceFieldConfig
from trellis.representations.flexicubes import extract_mesh
from trellis.runtime import Runtime, is_out_of_memory, release_cached_memory
from trellis.sampling import Known, initial_noise
from trellis.sparse import SparseTensor
from trellis.stages import Stage


class TrellisPipeline:
    """The stages of one TRELLIS model under the condition that its reader makes of pictures or of a text."""

    default_model = NANO
    operations: tuple[str, ...] = (GENERATE,)

    def __init__(
        self, name: str, config: PipelineConfig, *, reader: ConditionReader, host: ModelHost, runtime: Runtime
    ) -> None:
        self.name = name
        self.is_demo = name == NANO
        self.inputs: tuple[str, ...] = (reader.takes,)
        self.representations = config.representations
        self.config = config
        self.reader = reader
        self.host = host
        self.runtime = runtime

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, *, runtime: Runtime | None = None, plan: MemoryPlan | None = None
    ) -> Self:
        """Open a model: "nano" (embedded), a folder, or a repository on the hub such as microsoft/TRELLIS-image-large.

        Networks are loaded at their first use; `plan` says where they live then. A model of the hub that is not here
        is fetched first. Raises CheckpointError when the model cannot be found, is damaged or takes other things than
        this class, FetchError.
        """
        pipeline = open_model(model or cls.default_model, runtime=runtime or Runtime.detect(), plan=plan)
        if not isinstance(pipeline, cls):
            taken = " and ".join(pipeline.inputs)
            raise CheckpointError(f"{pipeline.name} takes {taken}: it cannot be opened as {cls.__name__}.")
        return pipeline

    @torch.inference_mode()
    def __call__(
        self,
        source: PictureSource | Sequence[PictureSource],
        *,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        representations: Sequence[str] = ("gaussians", "mesh"),
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Asset:
        """Generate an asset from one picture or several pictures of the same object, or from a prompt.

        Sampler values left at None are the model's own; `speed`, one of `trellis.sampling.SPEEDS`, changes the result a
        little unless it is exact; `multi_image` and `background` have nothing to decide for a text. Raises
        InvalidInputError for an unusable source or option, Cancelled within one step of a wish to stop.
        """
        progress = progress or Progress()
        self._check_representations(representations)
        structure_sampler = override(self.config.structure_sampler, "structure", structure_steps, structure_guidance)
        latent_sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance)
        generator = torch.Generator().manual_seed(seed)

        with self.host.in_order(stage_roles(representations)):
            condition = self.read(source, background=background, progress=progress)
            structure = self.sample_structure(condition, structure_sampler, generator, multi_image, progress, speed)
            voxels = self.decode_structure(structure)
            latent = self.sample_latent(condition, voxels, latent_sampler, generator, multi_image, progress, speed)
            return self.decode(latent, representations, condition.pictures, progress)

    @torch.inference_mode()
    def edit(
        self,
        source: Asset,
        prompt_or_pictures: PictureSource | Sequence[PictureSource] | None = None,
        *,
        region: Region | Box | Sequence[Box] | Tensor | Path,
        remove: bool = False,
        drop_loose: bool = True,
        resample: int = 1,
        view: PictureView | None = None,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        representations: Sequence[str] = ("gaussians", "mesh"),
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Asset:
        """`source` with what is in `region` made anew after pictures of the edited object (or a prompt), or removed.

        region: boxes in the frame of the source's GLB, voxels int [n, 3], or a closed mesh file. The first picture has
        the frame of `view`, by default that of the source's picture. drop_loose: pieces that hang on nothing go;
        resample: turns of each step. Outside of the region nothing changes. Raises InvalidInputError for an unusable
        region, picture or option, Cancelled within one step of a wish to stop.
        """
        if (prompt_or_pictures is None) != remove:
            raise InvalidInputError(ONE_OF)
        self._check_representations(representations)
        options = EditOptions(
            structure_sampler=override(self.config.structure_sampler, "structure", structure_steps, structure_guidance),
            latent_sampler=override(self.config.latent_sampler, "latent", latent_steps, latent_guidance),
            remove=remove, drop_loose=drop_loose, resample=resample, seed=seed, multi_image=multi_image,
            background=background, speed=speed,
        )  # fmt: skip
        with self.host.in_order(stage_roles(representations)):
            return edit_asset(
                self,
                source,
                prompt_or_pictures,
                region=Region.of(region),
                options=options,
                view=view,
                representations=representations,
                progress=progress or Progress(),
            )

    def _check_representations(self, representations: Sequence[str]) -> None:
        unknown = [item for item in representations if item not in self.representations]
        if unknown:
            known = ", ".join(self.representations)
            raise InvalidInputError(f"{self.name} makes no representation {unknown[0]!r}; choose from {known}.")

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""
        return Asset.load(path, device=self.runtime.device)

    def read(
        self,
        source: PictureSource | Sequence[PictureSource],
        *,
        background: str = "auto",
        progress: Progress,
        window: Window | None = None,
    ) -> Condition:
        """The condition of pictures, or of a prompt; raises InvalidInputError for what the model does not take."""
        return self.reader.read(source, self.host, background=background, progress=progress, window=window)

    def sample_structure(
        self,
        condition: Condition,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
        known: Known | None = None,
    ) -> Tensor:
        """The latent grid [1, C, r, r, r] of the structure, of which a part may be known."""
        config = self.host.config("sparse_structure_flow_model")
        noise = initial_noise([1, config.in_channels, *[config.resolution] * 3], generator)
        drawn = generator.get_state()

        def work(flow: StructureFlow, effort: Effort) -> Tensor:
            generator.set_state(drawn)
            with open_session(flow, condition, sampler, effort) as session:
                x = noise.to(effort.device)
                return sample_flow(
                    session,
                    x,
                    sampler,
                    multi_image,
                    Stage.STRUCTURE,
                    progress,
                    together=effort.together,
                    speed=speed,
                    known=known,
                    generator=generator,
                )

        return self.host.run("sparse_structure_flow_model", work, values=itself).to(self.runtime.device)

    def decode_structure(self, latent: Tensor) -> Tensor:
        """Occupied voxels int32 [N, 4] (0, x, y, z), sorted; raises TrellisError when the model finds no object."""
        voxels = torch.nonzero(self.decode_occupancy(latent)).int().to(self.runtime.device)
        if len(voxels) == 0:
            raise TrellisError("The model found no object in the picture; try another seed or another picture.")
        return voxels

    def decode_occupancy(self, latent: Tensor) -> Tensor:
        """Bool [1, R, R, R]: the voxels that are occupied."""

        def work(decoder: StructureDecoder, effort: Effort) -> Tensor:
            return decoder(latent.to(effort.device))

        return self.host.run("sparse_structure_decoder", work, values=itself)[:, 0] > 0

    def encode_structure(self, occupied: Tensor) -> Tensor:
        """The latent grid [1, C, r, r, r] of an occupancy bool [R, R, R]: the posterior's mean."""

        def work(encoder: StructureEncoder, effort: Effort) -> Tensor:
            return encoder(occupied.to(effort.device)[None, None].float())[0]

        return self.host.run("sparse_structure_encoder", work, values=itself).to(self.runtime.device)

    def sample_latent(
        self,
        condition: Condition,
        voxels: Tensor,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
        known: Known | None = None,
    ) -> SparseTensor:
        """The structured latent [N, 8] on `voxels`, in the units of the decoders, of which a part may be known."""
        config = self.host.config("slat_flow_model")
        noise = initial_noise([len(voxels), config.in_channels], generator)
        drawn = generator.get_state()
        grid = SparseTensor.create(noise.to(voxels.device), voxels, resolution=config.resolution, batch_size=1)

        def work(flow: LatentFlow, effort: Effort) -> Tensor:
            generator.set_state(drawn)
            x = grid.to(effort.device)
            with open_session(flow, condition, sampler, effort, layout=x.layout) as session:
                return sample_flow(
                    session,
                    x.feats,
                    sampler,
                    multi_image,
                    Stage.LATENT,
                    progress,
                    together=effort.together,
                    speed=speed,
                    known=known,
                    generator=generator,
                )

        latent = self.host.run("slat_flow_model", work, values=itself).to(self.runtime.device)
        mean, std = (latent.new_tensor(values) for values in self.config.latent_statistics)
        # A layout of its own: the tables that the flow made leave with it.
        return SparseTensor.create(latent * std + mean, voxels, resolution=grid.resolution, batch_size=1)

    def decode(
        self,
        latent: SparseTensor,
        representations: Sequence[str],
        prepared: Sequence[PreparedImage],
        progress: Progress,
        decoders: Mapping[str, Callable[[SparseTensor], Any]] | None = None,
    ) -> Asset:
        """Decode the structured latent of one object to the representations asked for, by `decoders` if given."""
        decoders = decoders or {
            "gaussians": self.decode_gaussians,
            "mesh": self.decode_mesh,
            "radiance_field": self.decode_radiance_field,
        }
        decoded: dict[str, Any] = {}
        wanted = [name for name in decoders if name in representations]
        for i in progress.steps(Stage.DECODE, len(wanted)):
            decoded[wanted[i]] = decoders[wanted[i]](latent)
        if "mesh" in decoded and len(decoded["mesh"].faces) == 0:
            raise TrellisError("The model made no surface from the picture; try another seed or another picture.")
        return Asset(
            gaussians=decoded.get("gaussians"),
            mesh=decoded.get("mesh"),
            radiance_field=decoded.get("radiance_field"),
            coords=latent.coords[:, 1:],
            latent=latent.feats,
            resolution=latent.resolution,
            prepared=tuple(prepared),
            notes=(*(note for image in prepared for note in image.notes), *self.host.take_notes()),
        )

    def decode_gaussians(self, latent: SparseTensor) -> GaussianCloud:
        """The Gaussians of one object's structured latent."""

        def work(decoder: GaussianDecoder, effort: Effort) -> GaussianCloud:
            [(coords, feats)] = decoder(latent.to(effort.device)).to(self.runtime.device).samples()
            return GaussianCloud.from_features(
                feats,
                coords,
                resolution=latent.resolution,
                config=GaussianConfig.from_dict(decoder.config.representation_config),
                offset_perturbation=decoder.offset_perturbation.to(feats.device),
            )

        return self.host.run("slat_decoder_gs", work, values=lambda cloud: cloud.positions)

    def decode_mesh_features(self, latent: SparseTensor) -> SparseTensor:
        """FlexiCubes values of the fine voxels of one object, see `extract_mesh`."""

        def work(decoder: MeshDecoder, effort: Effort) -> SparseTensor:
            return decoder(latent.to(effort.device), chunk_bytes=effort.chunk_bytes)

        return self.host.run("slat_decoder_mesh", work, values=lambda features: features.feats[:, :1])

    def decode_mesh(self, latent: SparseTensor) -> Mesh:
        """The surface of one object's structured latent."""
        return self.extract_surface(self.decode_mesh_features(latent))

    def extract_surface(self, features: SparseTensor) -> Mesh:
        """The mesh of one object's fine voxels; on the CPU where the device has no room for the work."""
        [(coords, feats)] = features.samples()
        try:
            mesh = extract_mesh(coords, feats, resolution=features.resolution)
        except RuntimeError as error:
            if not is_out_of_memory(error) or coords.device.type == "cpu":
                raise
            release_cached_memory(coords.device)
            mesh = extract_mesh(coords.cpu(), feats.cpu(), resolution=features.resolution)
        return mesh.to(self.runtime.device)

    def decode_radiance_field(self, latent: SparseTensor) -> RadianceField:
        """The radiance field of one object's structured latent."""

        def work(decoder: RadianceFieldDecoder, effort: Effort) -> RadianceField:
            [(coords, feats)] = decoder(latent.to(effort.device)).to(self.runtime.device).samples()
            config = RadianceFieldConfig.from_dict(decoder.config.representation_config)
            return RadianceField.from_features(feats, coords, resolution=latent.resolution, config=config)

        return self.host.run("slat_decoder_rf", work, values=lambda radiance: radiance.density)


class ImageTo3D(TrellisPipeline):
    """The pipeline of a model for pictures."""


class TextTo3D(TrellisPipeline):
    """The pipeline of a model for texts."""

    default_model = "TRELLIS-text-base"


def open_trellis(location: ModelLocation, *, runtime: Runtime, plan: MemoryPlan | None) -> TrellisPipeline:
    """The pipeline of a TRELLIS model, for pictures or for texts as its description says."""
    config = PipelineConfig.read(location.description)
    kind: type[TrellisPipeline]
    reader: ConditionReader
    if config.image_cond_model is not None:
        kind, reader = ImageTo3D, PictureReader(config.image_cond_model, location.folder, runtime)
    else:
        kind, reader = TextTo3D, TextReader(str(config.text_cond_model), location.folder, runtime)

    def load(role: str) -> nn.Module:
        return load_model(
            encoder_stem(location, role) if role in ENCODERS else network_stem(location, role),
            dtype=runtime.dtype,
            attention=runtime.attention,
            sparse_conv=(runtime.sparse_conv, runtime.spconv_algo),
        )

    loaders = {role: partial(load, role) for role in config.models} | {ENCODER_ROLE: reader.load}
    for role in ENCODERS:
        loaders[role] = partial(load, role)
    host = ModelHost(loaders, device=runtime.device, plan=plan)
    return kind(location.name, config, reader=reader, host=host, runtime=runtime)


def stage_roles(representations: Sequence[str]) -> tuple[str, ...]:
    """The networks of a generation in the order of their stages."""
    decoders = (role for name, role in DECODERS.items() if name in representations)
    return (ENCODER_ROLE, "sparse_structure_flow_model", "sparse_structure_decoder", "slat_flow_model", *decoders)


def itself(values: Tensor) -> Tensor:
    """What of a tensor must be finite: all of it."""
    return values
