"""A picture becomes a 3D asset: the only place that knows the order of the stages.

pictures -> PreparedImage -> condition [B, L, C] -> voxels int32 [N, 4] -> structured latent [N, 8]
         -> Gaussians | mesh | radiance field -> files
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from trellis.asset import Asset, framed_picture
from trellis.conditioning.pictures import PictureSource
from trellis.conditioning.view import PictureView
from trellis.conditions import ENCODER_ROLE, ConditionReader, PictureReader, TextReader
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import CheckpointError, InvalidInputError
from trellis.families.acquire import obtain_files
from trellis.families.location import ModelLocation
from trellis.families.trellis_family import ENCODER_FOLDER, ENCODERS, NANO, encoder_files, network_stem
from trellis.kept import FileSurface
from trellis.memory import MemoryPlan, ModelHost
from trellis.model_stages import MANY_STEPS, ModelStages, least_steps, override
from trellis.models import PipelineConfig, SamplerConfig, load_model
from trellis.models.pipeline_config import DECODERS
from trellis.opening import open_model
from trellis.progress import Progress
from trellis.runtime import Runtime
from trellis.sampling import Start
from trellis.sparse import SparseTensor

# What one operation alone needs (Warp, scipy: a second of a start) is imported by that operation.
if TYPE_CHECKING:
    from trellis.editing.boxes import Box
    from trellis.editing.region import Region
    from trellis.retexturing.retexture import Retextured

_Wish = tuple[int | None, float | None]  # steps and guidance of a stage, None: the model's own


class OpenedModel:
    """What the pipelines of all families have in common."""

    name: str
    representations: tuple[str, ...]
    runtime: Runtime

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""
        return Asset.load(path, device=self.runtime.device)

    def check_makes(self, representations: Sequence[str]) -> None:
        """Raise InvalidInputError for a representation that the model has no decoder for."""
        unknown = [item for item in representations if item not in self.representations]
        if unknown:
            known = ", ".join(self.representations)
            raise InvalidInputError(f"{self.name} makes no representation {unknown[0]!r}; choose from {known}.")


class TrellisPipeline(OpenedModel, ModelStages):
    """What one TRELLIS model makes under the condition that its reader makes of pictures or of a text."""

    default_model = NANO
    location: ModelLocation | None = None  # where its networks are that are not here yet
    # Its objects are 0.95 long and its voxels the shell around them (`trellis.encoding.local_features`), as of models
    # that are trained here; else 1 long, and every voxel that the surface touches.
    local_voxels = False

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
        self.check_makes(representations)
        least = least_steps(source)
        structure_sampler, latent_sampler = self._samplers(
            (structure_steps, structure_guidance), (latent_steps, latent_guidance), least=(least, least)
        )
        generator = torch.Generator().manual_seed(seed)

        with self.host.in_order(stage_roles(representations)):
            condition = self.read(source, background=background, progress=progress)
            structure = self.sample_structure(condition, structure_sampler, generator, multi_image, progress, speed)
            voxels = self.decode_structure(structure)
            latent = self.sample_latent(condition, voxels, latent_sampler, generator, multi_image, progress, speed)
            return self.decode(latent, representations, condition.pictures, progress)

    def _samplers(
        self, structure: _Wish, latent: _Wish, *, least: tuple[int, int] = (1, 1)
    ) -> tuple[SamplerConfig, SamplerConfig]:
        """The samplers of both stages with the steps and the guidance that are wished for; `least` of `override`."""
        return (
            override(self.config.structure_sampler, "structure", *structure, least=least[0]),
            override(self.config.latent_sampler, "latent", *latent, least=least[1]),
        )

    @torch.inference_mode()
    def load_mesh(
        self,
        source: str | Path | SourceMesh,
        *,
        up: str = "auto",
        front: str = "auto",
        picture: PictureSource | None = None,
        progress: Progress | None = None,
    ) -> Asset:
        """The asset of a mesh, a file or one that is read already, as the model's encoder sees it, without
        representations (see `represented`).

        up, front: as in `trellis.encoding.options.MeshOptions`; picture: what an automatic `front` is found with (0
        without one). Raises InvalidInputError for a file that cannot be used, CheckpointError for a model without an
        encoder, Cancelled.
        """
        from trellis.editing.from_mesh import asset_of_mesh

        progress = progress or Progress()
        self.obtain_encoder("slat_encoder", progress)
        return asset_of_mesh(self, source, up=up, front=front, picture=picture, progress=progress)

    @torch.inference_mode()
    def represented(
        self, asset: Asset, representations: Sequence[str] = ("gaussians", "mesh"), *, progress: Progress | None = None
    ) -> Asset:
        """An asset with these representations, decoded where it has them not yet; the others stay."""
        self.check_makes(representations)
        from trellis.editing.variant import source_voxels

        missing = [name for name in representations if getattr(asset, name) is None]
        if not missing:
            return asset
        voxels = source_voxels(self, asset)
        latent = SparseTensor.create(asset.latent, voxels, resolution=asset.resolution, batch_size=1)
        made = self.decode(latent, missing, (), progress or Progress())
        decoded = {name: getattr(made, name) for name in missing}
        return replace(asset, **decoded, notes=(*asset.notes, *made.notes))

    @torch.inference_mode()
    def variant(
        self,
        source: Asset,
        prompt_or_pictures: PictureSource | Sequence[PictureSource],
        *,
        strength: float = 1.0,
        shape_strength: float = 0.0,
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
        """An asset of the source's voxels with the surface and the colours of pictures, or of a prompt.

        strength, shape_strength in 0..1: how far from the source's latents towards noise the sampling of the latents
        and of the structure begins; with a shape_strength of 0 the voxels stay the source's. The other options are
        those of a generation. Raises InvalidInputError for an unusable source or option, CheckpointError where an
        encoder is needed that the model has not, Cancelled within one step of a wish to stop.
        """
        from trellis.editing.variant import latent_at, source_voxels

        progress = progress or Progress()
        self.check_makes(representations)
        structure_sampler, latent_sampler = self._samplers(
            (structure_steps, structure_guidance),
            (latent_steps, latent_guidance),
            least=(MANY_STEPS, MANY_STEPS if strength < 1 else least_steps(prompt_or_pictures)),
        )
        generator = torch.Generator().manual_seed(seed)
        voxels = source_voxels(self, source)
        condition = self.read(prompt_or_pictures, background=background, progress=progress)
        if shape_strength > 0:
            self.obtain_encoder("sparse_structure_encoder", progress)
            start = Start(self.encode_structure(voxels), shape_strength)
            voxels = self.decode_structure(
                self.sample_structure(
                    condition, structure_sampler, generator, multi_image, progress, speed, start=start
                )
            )
        known = None if strength >= 1 else Start(self.flow_units(latent_at(source, voxels)), strength)
        latent = self.sample_latent(
            condition, voxels, latent_sampler, generator, multi_image, progress, speed, start=known
        )
        made = self.decode(latent, representations, condition.pictures, progress)
        return replace(made, notes=(*source.file_notes, *made.notes), to_cube=source.to_cube)

    def obtain_encoder(self, role: str, progress: Progress) -> None:
        """Fetch an encoder that the model has and that is not here yet; `progress` hears of it. Raises FetchError."""
        if self.location is not None:
            what = f"{role} ({ENCODERS[role].megabytes} MB)"
            obtain_files(self.location, encoder_files(self.location, role), what=what, progress=progress)

    @torch.inference_mode()
    def edit(
        self,
        source: Asset,
        prompt_or_pictures: PictureSource | Sequence[PictureSource] | None = None,
        *,
        region: "Region | Box | Sequence[Box] | Tensor | Path",
        glb: Path | None = None,
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
        the frame of `view`, by default that of the source's picture. glb: the source's file, whose texture stays
        outside of the region; without it that is made of the source as usual. drop_loose: pieces that hang on nothing
        go; resample: turns of each step. Outside of the region nothing changes. Raises InvalidInputError for a region,
        picture or option that cannot be used, Cancelled within one step of a wish to stop.
        """
        from trellis.editing.edit import ONE_OF, EditOptions, edit_asset
        from trellis.editing.region import Region

        if (prompt_or_pictures is None) != remove:
            raise InvalidInputError(ONE_OF)
        progress = progress or Progress()
        self.check_makes(representations)
        self.obtain_encoder("sparse_structure_encoder", progress)
        least = least_steps(prompt_or_pictures)
        structure_sampler, latent_sampler = self._samplers(
            (structure_steps, structure_guidance), (latent_steps, latent_guidance), least=(least, least)
        )
        options = EditOptions(
            structure_sampler=structure_sampler, latent_sampler=latent_sampler,
            remove=remove, drop_loose=drop_loose, resample=resample, seed=seed, multi_image=multi_image,
            background=background, speed=speed,
        )  # fmt: skip
        if glb is not None:
            surface = FileSurface.of_glb(glb, to_cube=source.to_cube, device=self.runtime.device)
            source = replace(source, surface=surface)
        with self.host.in_order(stage_roles(representations)):
            return edit_asset(
                self,
                source,
                prompt_or_pictures,
                region=Region.of(region),
                options=options,
                view=view,
                representations=representations,
                progress=progress,
            )

    @torch.inference_mode()
    def retexture(
        self,
        mesh: str | Path,
        prompt_or_pictures: PictureSource | Sequence[PictureSource],
        *,
        up: str = "auto",
        front: str = "auto",
        uvs: str = "auto",
        texture_size: int | None = None,
        blend_picture: bool = True,
        seed: int = 0,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> "Retextured":
        """A mesh file with the colours of pictures of the same object, or of a prompt; nothing else in it changes.

        up, front: as in `trellis.encoding.options.MeshOptions`; uvs, texture_size: as in `retextured`; blend_picture:
        lay the picture itself on. The other options are those of a generation. Raises InvalidInputError for an unusable
        file, source or option, Cancelled within one step of a wish to stop.
        """
        from trellis.retexturing.placement import PlacedMesh
        from trellis.retexturing.retexture import retextured

        progress = progress or Progress()
        least = least_steps(prompt_or_pictures)
        sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance, least=least)
        source = load_mesh(mesh, up=up).to(self.runtime.device)
        generator = torch.Generator().manual_seed(seed)
        with self.host.in_order((ENCODER_ROLE, "slat_flow_model", DECODERS["gaussians"])):
            condition = self.read(prompt_or_pictures, background=background, progress=progress)
            picture = framed_picture(condition.pictures[0]) if condition.pictures else None
            placed = PlacedMesh.create(source, picture, front=front, local=self.local_voxels, progress=progress)
            resolution = self.host.config("slat_flow_model").resolution
            voxels = placed.voxels(resolution, local=self.local_voxels, progress=progress)
            latent = self.sample_latent(condition, voxels, sampler, generator, multi_image, progress, speed)
            asset = self.decode(latent, ("gaussians",), condition.pictures, progress)
        return retextured(
            Path(mesh),
            placed,
            asset,
            picture=picture if blend_picture else None,
            uvs=uvs,
            texture_size=texture_size,
            seed=seed,
            rasterizer=self.runtime.rasterizer,
            progress=progress,
        )


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

    loaders = {role: partial(load, role) for role in (*config.models, *ENCODERS)} | {ENCODER_ROLE: reader.load}
    host = ModelHost(loaders, device=runtime.device, plan=plan)
    made = kind(location.name, config, reader=reader, host=host, runtime=runtime)
    made.operations = location.describe().operations
    made.location = location
    made.local_voxels = (location.folder / ENCODER_FOLDER).is_dir()
    return made


def stage_roles(representations: Sequence[str]) -> tuple[str, ...]:
    """The networks of a generation in the order of their stages."""
    decoders = (role for name, role in DECODERS.items() if name in representations)
    return (ENCODER_ROLE, "sparse_structure_flow_model", "sparse_structure_decoder", "slat_flow_model", *decoders)
