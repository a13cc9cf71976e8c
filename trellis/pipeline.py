"""A picture becomes a 3D asset: the only place that knows the order of the stages.

pictures -> PreparedImage -> condition [B, L, C] -> voxels int32 [N, 4] -> structured latent [N, 8]
         -> Gaussians | mesh | radiance field -> files
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.asset import Asset
from trellis.conditioning import ImageEncoder, PreparedImage, encoder_image_size, prepare_image, stack_pictures
from trellis.conditioning.pictures import PictureSource
from trellis.errors import CheckpointError, InvalidInputError, TrellisError
from trellis.memory import ModelHost
from trellis.models import FlowSession, ModelLocation, SamplerConfig, load_model, resolve_model
from trellis.progress import Progress
from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField, RadianceFieldConfig
from trellis.representations.flexicubes import extract_mesh
from trellis.runtime import Runtime
from trellis.sampling import TIME_SCALE, combine_images, euler_sample, guide, initial_noise, timesteps
from trellis.sparse import SparseTensor

REPRESENTATIONS = ("gaussians", "mesh", "radiance_field")
ENCODER_ROLE = "image_encoder"


class ImageTo3D:
    """The image pipeline of one model; make it with `from_pretrained`, call it with pictures."""

    def __init__(self, location: ModelLocation, host: ModelHost, runtime: Runtime) -> None:
        self.name = location.name
        self.is_demo = location.is_demo
        self.config = location.config
        self.host = host
        self.runtime = runtime

    @classmethod
    def from_pretrained(
        cls, model: str | Path = "nano", *, runtime: Runtime | None = None, residency: str = "keep"
    ) -> "ImageTo3D":
        """Open a model: "nano" (embedded), a folder, or a repository on the hub such as microsoft/TRELLIS-image-large.

        Networks are loaded at their first use. Raises CheckpointError when the model cannot be found or is damaged.
        """
        runtime = runtime or Runtime.detect()
        location = resolve_model(str(model), runtime=runtime)
        config = location.config
        if config.image_cond_model is None:
            raise CheckpointError(f"{model} is a text model: it takes no pictures.")
        encoder = config.image_cond_model
        loaders: dict[str, Callable[[], nn.Module]] = {
            role: partial(load_model, location, role, dtype=runtime.dtype, attention=runtime.attention)
            for role in config.models
        }
        loaders[ENCODER_ROLE] = lambda: ImageEncoder.from_pretrained(encoder, location.folder, runtime)
        host = ModelHost(loaders, device=runtime.device, residency=residency)
        return cls(location, host, runtime)

    @torch.inference_mode()
    def __call__(
        self,
        pictures: PictureSource | Sequence[PictureSource],
        *,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        representations: Sequence[str] = ("gaussians", "mesh"),
        progress: Progress | None = None,
    ) -> Asset:
        """Generate an asset from one picture or several pictures of the same object.

        Sampler values left at None are the model's own. Raises InvalidInputError for unusable pictures or options,
        Cancelled within one step of a wish to stop.
        """
        progress = progress or Progress()
        unknown = [item for item in representations if item not in REPRESENTATIONS]
        if unknown:
            raise InvalidInputError(f"Unknown representation {unknown[0]!r}; choose from {', '.join(REPRESENTATIONS)}.")
        structure_sampler = override(self.config.structure_sampler, "structure", structure_steps, structure_guidance)
        latent_sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance)
        generator = torch.Generator().manual_seed(seed)

        prepared = self.prepare(pictures, background=background, progress=progress)
        conditions = self.encode(prepared, progress=progress)
        structure = self.sample_structure(conditions, structure_sampler, generator, multi_image, progress)
        voxels = self.decode_structure(structure)
        latent = self.sample_latent(conditions, voxels, latent_sampler, generator, multi_image, progress)
        return self.decode(latent, representations, prepared, progress)

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""
        return Asset.load(path, device=self.runtime.device)

    def prepare(
        self, pictures: PictureSource | Sequence[PictureSource], *, background: str, progress: Progress
    ) -> list[PreparedImage]:
        """Read, cut out and frame the pictures for this model's image encoder."""
        sources: list[Any] = list(pictures) if isinstance(pictures, (list, tuple)) else [pictures]
        if not sources:
            raise InvalidInputError("Give at least one picture.")
        size = encoder_image_size(self.config.image_cond_model)
        return [
            prepare_image(sources[i], size=size, background=background, runtime=self.runtime)
            for i in progress.steps("prepare", len(sources))
        ]

    def encode(self, prepared: Sequence[PreparedImage], *, progress: Progress) -> list[Tensor]:
        """Condition tokens [1, L, C] of each picture."""
        conditions = []
        with self.host.on_device(ENCODER_ROLE) as encoder:
            for i in progress.steps("encode", len(prepared)):
                conditions.append(encoder(stack_pictures([prepared[i]], self.runtime.device)))
        return conditions

    def sample_structure(
        self,
        conditions: Sequence[Tensor],
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
    ) -> Tensor:
        """The latent grid [1, C, r, r, r] of the structure."""
        with self.host.on_device("sparse_structure_flow_model") as flow:
            config = flow.config
            noise = initial_noise([1, config.in_channels, *[config.resolution] * 3], generator).to(self.runtime.device)
            times = session_times(sampler)
            null = torch.zeros_like(conditions[0])
            with FlowSession(flow, conditions, null=null, times=times, graphs=self.runtime.graphs) as session:
                return sample_flow(session, noise, sampler, multi_image, "structure", progress)

    def decode_structure(self, latent: Tensor) -> Tensor:
        """Occupied voxels int32 [N, 4] (0, x, y, z), sorted; raises TrellisError when the model finds no object."""
        with self.host.on_device("sparse_structure_decoder") as decoder:
            occupied = decoder(latent)[:, 0] > 0
        voxels = torch.nonzero(occupied).int()
        if len(voxels) == 0:
            raise TrellisError("The model found no object in the picture; try another seed or another picture.")
        return voxels

    def sample_latent(
        self,
        conditions: Sequence[Tensor],
        voxels: Tensor,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
    ) -> SparseTensor:
        """The structured latent [N, 8] on `voxels`, in the units of the decoders."""
        with self.host.on_device("slat_flow_model") as flow:
            noise = initial_noise([len(voxels), flow.config.in_channels], generator).to(self.runtime.device)
            grid = SparseTensor.create(noise, voxels, resolution=flow.config.resolution, batch_size=1)
            times, graphs = session_times(sampler), self.runtime.graphs
            null = torch.zeros_like(conditions[0])
            with FlowSession(flow, conditions, null=null, times=times, layout=grid.layout, graphs=graphs) as session:
                latent = sample_flow(session, noise, sampler, multi_image, "latent", progress)
        mean, std = (latent.new_tensor(values) for values in self.config.latent_statistics)
        return grid.replace(latent * std + mean)

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
        wanted = [name for name in REPRESENTATIONS if name in representations]
        for i in progress.steps("decode", len(wanted)):
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
            notes=tuple(note for image in prepared for note in image.notes),
        )

    def decode_gaussians(self, latent: SparseTensor) -> GaussianCloud:
        """The Gaussians of one object's structured latent."""
        with self.host.on_device("slat_decoder_gs") as decoder:
            [(coords, feats)] = decoder(latent).samples()
            return GaussianCloud.from_features(
                feats,
                coords,
                resolution=latent.resolution,
                config=GaussianConfig.from_dict(decoder.config.representation_config),
                offset_perturbation=decoder.offset_perturbation,
            )

    def decode_mesh_features(self, latent: SparseTensor) -> SparseTensor:
        """FlexiCubes values of the fine voxels of one object, see `extract_mesh`."""
        with self.host.on_device("slat_decoder_mesh") as decoder:
            return decoder(latent)

    def decode_mesh(self, latent: SparseTensor) -> Mesh:
        """The surface of one object's structured latent."""
        features = self.decode_mesh_features(latent)
        [(coords, feats)] = features.samples()
        return extract_mesh(coords, feats, resolution=features.resolution)

    def decode_radiance_field(self, latent: SparseTensor) -> RadianceField:
        """The radiance field of one object's structured latent."""
        with self.host.on_device("slat_decoder_rf") as decoder:
            [(coords, feats)] = decoder(latent).samples()
            config = RadianceFieldConfig.from_dict(decoder.config.representation_config)
            return RadianceField.from_features(feats, coords, resolution=latent.resolution, config=config)


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


def session_times(sampler: SamplerConfig) -> list[float]:
    """The times on the 0..1000 scale at which a sampler evaluates its flow."""
    return [TIME_SCALE * t for t in timesteps(sampler.steps, sampler.rescale_t)[:-1]]


def sample_flow(
    session: FlowSession, noise: Tensor, sampler: SamplerConfig, multi_image: str, stage: str, progress: Progress
) -> Tensor:
    """Integrate a flow under guidance, from `noise`, for the conditions of the session."""
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
        both=session.pair(0) if len(session) == 1 else None,
    )
    return euler_sample(
        velocity, noise, steps=sampler.steps, rescale_t=sampler.rescale_t, progress=progress, stage=stage
    )
