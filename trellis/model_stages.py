"""The stages of one TRELLIS model: each borrows its network, and knows nothing of their order."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trellis.asset import Asset
from trellis.conditioning import PreparedImage
from trellis.conditioning.pictures import PictureSource
from trellis.conditioning.view import Window
from trellis.conditions import Condition, ConditionReader
from trellis.errors import InvalidInputError, TrellisError
from trellis.families.family import GENERATE
from trellis.families.trellis_family import NANO
from trellis.memory import Effort, ModelHost, itself
from trellis.models import FlowSession, PipelineConfig, SamplerConfig
from trellis.models.latent_decoders import GaussianDecoder, MeshDecoder, RadianceFieldDecoder
from trellis.models.latent_encoder import LatentEncoder
from trellis.models.latent_flow import LatentFlow
from trellis.models.structure_flow import StructureFlow
from trellis.models.structure_vae import StructureDecoder, StructureEncoder, fitted_latent
from trellis.progress import Progress
from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField, RadianceFieldConfig
from trellis.representations.flexicubes import extract_mesh
from trellis.runtime import Runtime, is_out_of_memory, release_cached_memory
from trellis.sampling import (
    SPEEDS,
    TIME_SCALE,
    Known,
    Start,
    combine_images,
    euler_sample,
    extrapolate,
    guide,
    initial_noise,
    repaint_sample,
    timesteps,
)
from trellis.sparse import SparseTensor, VoxelLayout
from trellis.stages import Stage

# Where pictures take turns or a sampling begins on the way: at least so many, if none are stated.
MANY_STEPS = 12


class ModelStages:
    """The networks of a model, lent by its host, and the condition that its reader makes."""

    operations: tuple[str, ...] = (GENERATE,)
    options: tuple[str, ...] = ()
    notice = ""

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

    def read(
        self,
        source: PictureSource | Sequence[PictureSource],
        *,
        background: str = "auto",
        progress: Progress,
        window: Window | None = None,
    ) -> Condition:
        """The condition of pictures, or of a prompt; raises InvalidInputError for what the model does not take.

        window: of the first picture, see `trellis.conditioning.framing.frame_object`.
        """
        return self.reader.read(source, self.host, background=background, progress=progress, window=window)

    def sample_structure(
        self,
        condition: Condition,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
        start: Start | None = None,
        known: Known | None = None,
    ) -> Tensor:
        """The latent grid [1, C, r, r, r] of the structure, from noise alone or from `start`, or partly `known`."""
        config = self.host.config("sparse_structure_flow_model")
        shape = (1, config.in_channels, *[config.resolution] * 3)
        return self._sampled(
            Stage.STRUCTURE, shape, None, condition, sampler, generator, multi_image, progress, speed, start, known
        )

    def _sampled(
        self, stage: Stage, shape: tuple[int, ...], layout: VoxelLayout | None, condition: Condition,
        sampler: SamplerConfig, generator: torch.Generator, multi_image: str, progress: Progress, speed: str,
        start: Start | None, known: Known | None
    ) -> Tensor:  # fmt: skip
        """What the flow of a stage makes of noise of `shape`, on the voxels of `layout` if it has any."""
        noise = initial_noise(shape, generator)
        drawn = generator.get_state()

        def work(flow: StructureFlow | LatentFlow, effort: Effort) -> Tensor:
            generator.set_state(drawn)
            here = None if layout is None else layout.to(effort.device)
            with open_session(flow, condition, sampler, effort, layout=here) as session:
                return sample_flow(
                    session, noise.to(effort.device), sampler, multi_image, stage, progress,
                    together=effort.together, speed=speed, start=start, known=known, generator=generator,
                )  # fmt: skip

        role = "sparse_structure_flow_model" if layout is None else "slat_flow_model"
        return self.host.run(role, work, values=itself).to(self.runtime.device)

    def decode_structure(self, latent: Tensor) -> Tensor:
        """Occupied voxels int32 [N, 4] (0, x, y, z), sorted; raises TrellisError when the model finds no object."""
        voxels = torch.nonzero(self.decode_occupancy(latent)).int().to(self.runtime.device)
        if len(voxels) == 0:
            raise TrellisError("The model found no object in the picture; try another seed or another picture.")
        return voxels

    def decode_occupancy(self, latent: Tensor) -> Tensor:
        """Bool [1, R, R, R]: the voxels that are occupied."""
        return self.decode_numbers(latent) > 0

    def decode_numbers(self, latent: Tensor) -> Tensor:
        """[1, R, R, R]: the structure decoder's numbers, which are above 0 where a voxel is occupied."""

        def work(decoder: StructureDecoder, effort: Effort) -> Tensor:
            return decoder(latent.to(effort.device))

        return self.host.run("sparse_structure_decoder", work, values=itself)[:, 0]

    def fit_structure(self, latent: Tensor, free: Tensor, loss: Callable[[Tensor], Tensor], *, steps: int) -> Tensor:
        """A latent grid [1, C, r, r, r], moved where `free` a few steps down the gradient of `loss`.

        loss: of the decoder's numbers [R, R, R], which are above 0 where a voxel is occupied.
        """

        def work(decoder: StructureDecoder, effort: Effort) -> Tensor:
            return fitted_latent(decoder, latent.to(effort.device), free.to(effort.device), loss, steps=steps)

        return self.host.run("sparse_structure_decoder", work, values=itself).to(self.runtime.device)

    def sample_latent(
        self,
        condition: Condition,
        voxels: Tensor,
        sampler: SamplerConfig,
        generator: torch.Generator,
        multi_image: str,
        progress: Progress,
        speed: str = "exact",
        start: Start | None = None,
        known: Known | None = None,
    ) -> SparseTensor:
        """The structured latent [N, 8] on `voxels`, in the units of the decoders, from noise alone or from `start`.

        The values of `start`, and of a `known` part, are in the units of the flow (`flow_units`).
        """
        config = self.host.config("slat_flow_model")
        shape = (len(voxels), config.in_channels)
        layout = VoxelLayout.create(voxels, resolution=config.resolution, batch_size=1)
        latent = self._sampled(
            Stage.LATENT, shape, layout, condition, sampler, generator, multi_image, progress, speed, start, known
        )
        mean, std = self._statistics(latent)
        # A layout of its own: the tables that the flow made leave with it.
        return SparseTensor.create(latent * std + mean, voxels, resolution=config.resolution, batch_size=1)

    def flow_units(self, latent: Tensor) -> Tensor:
        """Structured latents [N, 8] as the flow has them: without mean, of unit spread."""
        mean, std = self._statistics(latent)
        return (latent - mean) / std

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.config.latent_statistics
        return like.new_tensor(mean), like.new_tensor(std)

    def encode_structure(self, voxels: Tensor) -> Tensor:
        """The latent grid [1, C, r, r, r] of voxels int32 [N, 4], from which the decoder makes them again.

        It is the mean of the encoder's posterior, which loses a few voxels; moved a step towards what keeps them, where
        that keeps more.
        """
        latent, wanted = self.structure_mean(voxels), self._filled(voxels) > 0

        def loss(numbers: Tensor) -> Tensor:
            return binary_cross_entropy_with_logits(numbers, self._filled(voxels).to(numbers), reduction="sum")

        moved = self.fit_structure(latent, torch.ones_like(latent, dtype=torch.bool), loss, steps=1)
        wrong = [int((self.decode_occupancy(one)[0].cpu() != wanted).sum()) for one in (latent, moved)]
        return latent if wrong[0] <= wrong[1] else moved

    def structure_mean(self, voxels: Tensor) -> Tensor:
        """The mean [1, C, r, r, r] of the encoder's posterior for voxels int32 [N, 4]."""
        grid = self._filled(voxels)[None, None]

        def work(encoder: StructureEncoder, effort: Effort) -> Tensor:
            mean, _ = encoder(grid.to(effort.device))
            return mean

        return self.host.run("sparse_structure_encoder", work, values=itself).to(self.runtime.device)

    def _filled(self, voxels: Tensor) -> Tensor:
        """1 at voxels int32 [N, 4], 0 elsewhere in [R, R, R], on the CPU."""
        side = self.host.config("slat_flow_model").resolution
        return torch.zeros(side, side, side).index_put_(tuple(voxels[:, 1:].cpu().long().T), torch.ones(()))

    def encode_latent(self, features: SparseTensor) -> Tensor:
        """The latents [N, C] float32 of voxels with the encoder's input: the mean of their posterior."""

        def work(encoder: LatentEncoder, effort: Effort) -> Tensor:
            mean, _ = encoder(features.to(effort.device))
            return mean.feats.float()

        return self.host.run("slat_encoder", work, values=itself).to(self.runtime.device)

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
            texture_source=self.config.texture_source,
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


def least_steps(source: Any) -> int:
    """Steps of a sampling under `source` where none are stated: many of several pictures, which take turns."""
    return MANY_STEPS if isinstance(source, Sequence) and not isinstance(source, str) and len(source) > 1 else 1


def override(
    sampler: SamplerConfig, stage: str, steps: int | None, guidance: float | None, *, least: int = 1
) -> SamplerConfig:
    """The model's sampler with the steps and guidance strength of a request, where it states them.

    least: steps where the request states none and the model's own are fewer.
    Raises InvalidInputError naming the stage's value that is out of range.
    """
    if steps is not None and steps < 1:
        raise InvalidInputError(f"{stage}_steps must be at least 1, not {steps}.")
    if guidance is not None and not 0 <= guidance < math.inf:
        raise InvalidInputError(f"{stage}_guidance must be at least 0, not {guidance}.")
    return replace(
        sampler,
        steps=max(sampler.steps, least) if steps is None else steps,
        cfg_strength=sampler.cfg_strength if guidance is None else guidance,
    )


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
    start: Start | None = None,
    known: Known | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integrate a flow under guidance, from `noise` alone or from `start`, for the conditions of the session.

    together: a single condition and the null condition are evaluated at once, which is faster and needs more memory.
    known: the part that is known, and `generator` what its resampling draws from, with which speed does not count.
    Raises InvalidInputError for a speed that is not one of `trellis.sampling.SPEEDS`.
    """
    if speed not in SPEEDS:
        raise InvalidInputError(f"Unknown speed {speed!r}; choose one of {', '.join(SPEEDS)}.")
    velocity_every, guidance_every = SPEEDS["exact" if known is not None and known.resample > 1 else speed]
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
        learned=sampler.learned_strength,
        both=session.pair(0) if together and len(session) == 1 else None,
        every=guidance_every,
    )
    steps, rescale_t = sampler.steps, sampler.rescale_t
    velocity = extrapolate(velocity, steps=steps, rescale_t=rescale_t, every=velocity_every)
    integrate = partial(euler_sample, start=start)
    if known is not None:
        assert generator is not None
        integrate = partial(repaint_sample, known=known.to(noise.device), generator=generator)
    return integrate(
        velocity, noise, steps=steps, rescale_t=rescale_t, sigma=sampler.sigma_min, progress=progress, stage=stage
    )
