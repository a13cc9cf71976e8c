"""A picture becomes a 3D asset: the only place that knows the order of the stages.

pictures -> PreparedImage -> condition [B, L, C] -> voxels int32 [N, 4] -> structured latent [N, 8]
         -> Gaussians | mesh | radiance field -> files
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from trellis.asset import Asset, framed_picture
from trellis.conditioning import PreparedImage
from trellis.conditioning.pictures import PictureSource
from trellis.conditions import ENCODER_ROLE, Condition, ConditionReader, PictureReader, TextReader
from trellis.errors import CheckpointError, InvalidInputError, TrellisError
from trellis.families.family import GENERATE
from trellis.families.location import ModelLocation
from trellis.families.trellis_family import NANO, network_stem
from trellis.memory import Effort, MemoryPlan, ModelHost
from trellis.models import FlowSession, PipelineConfig, SamplerConfig, load_model
from trellis.models.latent_decoders import GaussianDecoder, MeshDecoder, RadianceFieldDecoder
from trellis.models.latent_flow import LatentFlow
from trellis.models.pipeline_config import DECODERS
from trellis.models.structure_flow import StructureFlow
from trellis.models.structure_vae import StructureDecoder
from trellis.opening import open_model
from trellis.progress import Progress
from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField, RadianceFieldConfig
from trellis.representations.flexicubes import extract_mesh
from trellis.retexturing.placement import PlacedMesh, read_mesh
from trellis.retexturing.retexture import Retextured, retextured
from trellis.runtime import Runtime, is_out_of_memory, release_cached_memory
from trellis.sampling import (
    SPEEDS,
    TIME_SCALE,
    combine_images,
    euler_sample,
    extrapolate,
    guide,
    initial_noise,
    timesteps,
)
from trellis.sparse import SparseTensor, VoxelLayout
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
        unknown = [item for item in representations if item not in self.representations]
        if unknown:
            known = ", ".join(self.representations)
            raise InvalidInputError(f"{self.name} makes no representation {unknown[0]!r}; choose from {known}.")
        structure_sampler = override(self.config.structure_sampler, "structure", structure_steps, structure_guidance)
        latent_sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance)
        generator = torch.Generator().manual_seed(seed)

        with self.host.in_order(stage_roles(representations)):
            condition = self.read(source, background=background, progress=progress)
            structure = self.sample_structure(condition, structure_sampler, generator, multi_image, progress, speed)
            voxels = self.decode_structure(structure)
            latent = self.sample_latent(condition, voxels, latent_sampler, generator, multi_image, progress, speed)
            return self.decode(latent, representations, condition.pictures, progress)

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""
        return Asset.load(path, device=self.runtime.device)

    @torch.inference_mode()
    def retexture(
        self,
        mesh: str | Path,
        source: PictureSource | Sequence[PictureSource],
        *,
        up: str = "auto",
        front: str = "auto",
        uvs: str = "auto",
        texture_size: int | None = None,
        tiles: bool = False,
        seed: int = 0,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Retextured:
        """Give a mesh file the colours of pictures of the same object, or of a prompt; nothing else in it changes.

        up as in `load_mesh`, front as in `PlacedMesh.create`; uvs, texture_size and tiles as in `retextured`; the
        others as for a new asset. Raises InvalidInputError for an unusable file, source or option, Cancelled within one
        step.
        """
        progress = progress or Progress()
        sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance)
        read = read_mesh(mesh, up=up).to(self.runtime.device)
        with self.host.in_order((ENCODER_ROLE, "slat_flow_model", DECODERS["gaussians"])):
            condition = self.read(source, background=background, progress=progress)
            picture = framed_picture(condition.pictures[0]) if condition.pictures else None
            placed = PlacedMesh.create(read, picture, front=front, local=self.is_demo, progress=progress)
            resolution = self.host.config("slat_flow_model").resolution
            voxels = placed.voxels(resolution, local=self.is_demo, progress=progress)
            generator = torch.Generator().manual_seed(seed)
            latent = self.sample_latent(condition, voxels, sampler, generator, multi_image, progress, speed)
            asset = self.decode(latent, ("gaussians",), condition.pictures, progress)
        return retextured(
            Path(mesh),
            placed,
            asset,
            uvs=uvs,
            texture_size=texture_size,
            tiles=tiles,
            seed=seed,
            rasterizer=self.runtime.rasterizer,
            progress=progress,
        )

    def read(
        self, source: PictureSource | Sequence[PictureSource], *, background: str = "auto", progress: Progress
    ) -> Condition:
        """The condition of pictures, or of a prompt; raises InvalidInputError for what the model does not take."""
        return self.reader.read(source, self.host, background=background, progress=progress)

    def sample_structure(
        self,
        condition: Condition,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
    ) -> Tensor:
        """The latent grid [1, C, r, r, r] of the structure."""
        config = self.host.config("sparse_structure_flow_model")
        noise = initial_noise([1, config.in_channels, *[config.resolution] * 3], generator)

        def work(flow: StructureFlow, effort: Effort) -> Tensor:
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
                )

        return self.host.run("sparse_structure_flow_model", work, values=itself).to(self.runtime.device)

    def decode_structure(self, latent: Tensor) -> Tensor:
        """Occupied voxels int32 [N, 4] (0, x, y, z), sorted; raises TrellisError when the model finds no object."""

        def work(decoder: StructureDecoder, effort: Effort) -> Tensor:
            return decoder(latent.to(effort.device))

        logits = self.host.run("sparse_structure_decoder", work, values=itself)
        voxels = torch.nonzero(logits[:, 0] > 0).int().to(self.runtime.device)
        if len(voxels) == 0:
            raise TrellisError("The model found no object in the picture; try another seed or another picture.")
        return voxels

    def sample_latent(
        self,
        condition: Condition,
        voxels: Tensor,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
    ) -> SparseTensor:
        """The structured latent [N, 8] on `voxels`, in the units of the decoders."""
        config = self.host.config("slat_flow_model")
        noise = initial_noise([len(voxels), config.in_channels], generator)
        grid = SparseTensor.create(noise.to(voxels.device), voxels, resolution=config.resolution, batch_size=1)

        def work(flow: LatentFlow, effort: Effort) -> Tensor:
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
    ) -> Asset:
        """Decode the structured latent of one object to the representations asked for."""
        decoders = {
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
            network_stem(location, role),
            dtype=runtime.dtype,
            attention=runtime.attention,
            sparse_conv=(runtime.sparse_conv, runtime.spconv_algo),
        )

    loaders = {role: partial(load, role) for role in config.models} | {ENCODER_ROLE: reader.load}
    host = ModelHost(loaders, device=runtime.device, plan=plan)
    return kind(location.name, config, reader=reader, host=host, runtime=runtime)


def stage_roles(representations: Sequence[str]) -> tuple[str, ...]:
    """The networks of a generation in the order of their stages."""
    decoders = (role for name, role in DECODERS.items() if name in representations)
    return (ENCODER_ROLE, "sparse_structure_flow_model", "sparse_structure_decoder", "slat_flow_model", *decoders)


def override(sampler: SamplerConfig, stage: str, steps: int | None, guidance: float | None) -> SamplerConfig:
    """The model's sampler with the steps and guidance strength of a request, where it states them.

    Raises InvalidInputError naming the stage's value that is out of range.
    """
    if steps is not None and steps < 1:
        raise InvalidInputError(f"{stage}_steps must be at least 1, not {steps}.")
    if guidance is not None and not 0 <= guidance < math.inf:
        raise InvalidInputError(f"{stage}_guidance must be at least 0, not {guidance}.")
    return replace(
        sampler,
        steps=sampler.steps if steps is None else steps,
        cfg_strength=sampler.cfg_strength if guidance is None else guidance,
    )


def itself(values: Tensor) -> Tensor:
    """What of a tensor must be finite: all of it."""
    return values


def open_session(
    flow: StructureFlow | LatentFlow,
    condition: Condition,
    sampler: SamplerConfig,
    effort: Effort,
    *,
    layout: VoxelLayout | None = None,
) -> FlowSession:
    """A session at the times of the sampler."""
    tokens = [part.to(effort.device) for part in condition.tokens]
    times = [TIME_SCALE * t for t in timesteps(sampler.steps, sampler.rescale_t)[:-1]]
    null = condition.null.to(effort.device)
    return FlowSession(flow, tokens, null=null, times=times, layout=layout, graphs=effort.graphs)


def sample_flow(
    session: FlowSession,
    noise: Tensor,
    sampler: SamplerConfig,
    multi_image: str,
    stage: Stage,
    progress: Progress,
    *,
    together: bool = True,
    speed: str = "exact",
) -> Tensor:
    """Integrate a flow under guidance, from `noise`, for the conditions of the session.

    together: a single condition and the null condition are evaluated at once, which is faster and needs more memory.
    Raises InvalidInputError for a speed that is not one of `trellis.sampling.SPEEDS`.
    """
    if speed not in SPEEDS:
        raise InvalidInputError(f"Unknown speed {speed!r}; choose one of {', '.join(SPEEDS)}.")
    velocity_every, guidance_every = SPEEDS[speed]
    conditional = combine_images(
        [session.velocity(index) for index in range(len(session))],
        multi_image,
        steps=sampler.steps,
        rescale_t=sampler.rescale_t,
    )
    velocity = guide(
        conditional,
        session.null_velocity(),
        strength=sampler.cfg_strength,
        interval=sampler.cfg_interval,
        both=session.pair(0) if together and len(session) == 1 else None,
        every=guidance_every,
    )
    velocity = extrapolate(velocity, steps=sampler.steps, rescale_t=sampler.rescale_t, every=velocity_every)
    return euler_sample(
        velocity, noise, steps=sampler.steps, rescale_t=sampler.rescale_t, progress=progress, stage=stage
    )
