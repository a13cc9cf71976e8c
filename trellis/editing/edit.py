"""A part of an asset made anew, or removed: everything outside of the region stays what it was."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from trellis.asset import Asset
from trellis.conditioning import PreparedImage, load_picture
from trellis.conditioning.view import PictureView
from trellis.conditions import Condition
from trellis.editing.outline import Outline
from trellis.editing.put_back import KeptRows, capped_gaussians, capped_values, fine_values
from trellis.editing.region import CLIPPED, NOTHING_LEFT, WHOLE, Region
from trellis.editing.view import front_picture
from trellis.editing.voxels import edited_cells, edited_occupancy, occupancy
from trellis.errors import InvalidInputError
from trellis.export.options import FileOptions
from trellis.families.family import PICTURES
from trellis.kept import FileSurface, Kept
from trellis.model_stages import MANY_STEPS, ModelStages
from trellis.models import SamplerConfig
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh, RadianceField
from trellis.sampling import Known
from trellis.sparse import SparseTensor

T = TypeVar("T", GaussianCloud, RadianceField)

logger = logging.getLogger(__name__)

MOST_RESAMPLE = 10
NOISES = 8  # that an outline chooses from, by where the first step points
FIT_STEPS = 5  # in which a structure is moved towards an outline
NOT_REMOVABLE = "The region holds nothing of the object, so there is nothing to remove: move it onto the object."
ONE_OF = "An edit takes a picture, or a prompt, or remove: one of them."
OTHER_SIZE = (
    "The picture was cropped tightly around its object, because it has another size than the source's picture: if the "
    "new part changes the outline, give a picture of the source's size."
)


@dataclass(frozen=True)
class EditOptions:
    """How a part is edited; the sampling as in a generation."""

    structure_sampler: SamplerConfig
    latent_sampler: SamplerConfig
    remove: bool = False
    drop_loose: bool = True
    resample: int = 1
    seed: int = 0
    multi_image: str = "stochastic"
    background: str = "auto"
    speed: str = "exact"

    def __post_init__(self) -> None:
        if not 1 <= self.resample <= MOST_RESAMPLE:
            raise InvalidInputError(f"resample must be 1 to {MOST_RESAMPLE}, not {self.resample}.", field="resample")


def edit_asset(
    stages: ModelStages,
    source: Asset,
    given: Any,
    *,
    region: Region,
    options: EditOptions,
    view: PictureView | None,
    representations: Sequence[str],
    progress: Progress,
) -> Asset:
    """`source` with what is in `region` made anew after `given` (pictures, or a prompt), or removed (None).

    view: the frame of the first picture, if it is not the source's. Outside of the region voxels, latents, Gaussians
    and the values that the surface is made of are the source's, byte for byte. Raises InvalidInputError for a region
    that is empty or holds the whole object, for a picture that does not fit `view`; Cancelled within one step.
    """
    part = _Part.find(stages, source, region, options)
    generator = torch.Generator().manual_seed(options.seed)
    given_part = _Given((), None, ())
    if options.remove:
        occupied = torch.zeros_like(part.mask)
    else:
        given_part = _read(stages, source, given, view=view, options=options, progress=progress)
        occupied = _sampled_occupancy(stages, part, given_part, options, generator, progress)
    after = edited_occupancy(part.occupied, occupied, part.mask, remove=options.remove, drop_loose=options.drop_loose)
    latent, rows = _latent(stages, source, part, after, given_part, options, generator, progress)
    decoding = _Decoding(stages, source, part.kept, rows, latent, recolor=options.remove)
    made = stages.decode(latent, representations, given_part.pictures, progress, decoders=decoding.decoders())
    if options.remove:  # the remarks on the source's picture were told with the source
        made = replace(made, prepared=source.prepared)
    kept = None
    if made.mesh is not None:
        kept = _kept(source, part, decoding, given_part, options.remove, made.prepared, progress)
        kept = replace(kept, voxels_changed=_changed(source, made, part.mask))
    notes = (*source.file_notes, *part.notes, *given_part.notes, *made.notes)
    return replace(made, to_cube=source.to_cube, kept=kept, notes=tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Part:
    """mask [R, R, R]: the region; occupied [R, R, R]: the source's voxels; notes for the user."""

    mask: Tensor
    occupied: Tensor
    notes: tuple[str, ...]

    @property
    def kept(self) -> Tensor:
        """Bool [R, R, R]: the source's voxels outside of the region."""
        return self.occupied & ~self.mask

    @classmethod
    def find(cls, stages: ModelStages, source: Asset, region: Region, options: EditOptions) -> "_Part":
        config = stages.host.config("slat_flow_model")
        if (source.resolution, source.latent.shape[1]) != (config.resolution, config.in_channels):
            raise InvalidInputError(
                f"This asset has another latent than {stages.name} makes: edit it with the model that made it, or read "
                "its GLB file as a mesh."
            )
        occupied = occupancy(source.coords, source.resolution)
        mask = region.mask(source.resolution, to_cube=source.to_cube, occupied=occupied)
        clipped = not options.remove and region.reaches_out(to_cube=source.to_cube)  # beyond there is nothing to remove
        notes = (CLIPPED,) if clipped else ()
        part = cls(mask, occupied, notes)
        if not bool(part.kept.any()):
            raise InvalidInputError(NOTHING_LEFT if options.remove else WHOLE, field="box")
        if options.remove and not bool((part.occupied & mask).any()):
            raise InvalidInputError(NOT_REMOVABLE, field="box")
        return part


@dataclass(frozen=True)
class _Given:
    """What an edit is steered by: condition and pictures, the frame of the first one, notes for the user."""

    pictures: tuple[PreparedImage, ...]
    frame: PictureView | None
    notes: tuple[str, ...]
    condition: Condition | None = None

    def outline(self, part: _Part) -> Outline | None:
        """What the first picture shows, if its camera is known."""
        if self.frame is None or not self.pictures:
            return None
        camera = self.frame.camera_of(self.pictures[0].box)
        return None if camera is None else Outline.create(self.pictures[0], camera, part.occupied, part.mask)


def _read(
    stages: ModelStages,
    source: Asset,
    given: Any,
    *,
    view: PictureView | None,
    options: EditOptions,
    progress: Progress,
) -> _Given:
    """Pictures, the first of them in the frame of `view` or of the source's picture; or a prompt."""
    if PICTURES not in stages.inputs:
        condition = stages.read(given, progress=progress)
        return _Given((), None, (), condition)
    pictures = list(given) if isinstance(given, (list, tuple)) else [given]
    frame, notes = view or source.view, tuple[str, ...]()
    if frame is not None and pictures:
        size = load_picture(pictures[0])[0].size
        if view is not None:
            view.check_size(size)
        elif size != frame.size:
            frame, notes = None, (OTHER_SIZE,)
    condition = stages.read(
        pictures, background=options.background, progress=progress, window=None if frame is None else frame.box
    )
    return _Given(condition.pictures, frame, notes, condition)


def _sampled_occupancy(
    stages: ModelStages,
    part: _Part,
    given: _Given,
    options: EditOptions,
    generator: torch.Generator,
    progress: Progress,
) -> Tensor:
    """The voxels [R, R, R] that the model makes where the cells outside of the region are known.

    Where the picture's camera is known, several noises are tried: the one that soon points at the outline that agrees
    best with the picture's is followed to its end, and what comes of it moved towards the picture. Of many steps the
    first tells; of few, whose first points at the same from every noise, the second.
    """
    assert given.condition is not None
    values = stages.encode_structure(torch.nn.functional.pad(part.occupied.nonzero().int(), (1, 0)))
    free = edited_cells(part.mask, values.shape[-1])[None, None].to(values.device)
    known = Known(values, ~free, options.resample)
    draw = partial(
        stages.sample_structure,
        given.condition,
        options.structure_sampler,
        generator,
        options.multi_image,
        speed=options.speed,
    )
    outline = given.outline(part)
    if outline is None:
        return stages.decode_occupancy(draw(progress=progress, known=known))[0].cpu()
    steps = options.structure_sampler.steps
    tried = min(steps, 1 if steps >= MANY_STEPS else 2)
    total = NOISES * tried + steps
    states, guesses = list[Tensor](), list[Tensor]()
    for number in range(NOISES):
        states.append(generator.get_state())
        guesses.append(draw(progress=progress.part(number * tried, total), known=replace(known, until=tried)))
    agreements = [outline.agreement(stages.decode_numbers(guess)[0] > 0) for guess in guesses]
    generator.set_state(states[agreements.index(max(agreements))])
    latent = draw(progress=progress.part(NOISES * tried, total), known=known)
    shift, agreement = outline.place(stages.decode_numbers(latent)[0])
    logger.info("The outline agrees to %.3f with the picture's, moved by %s voxels.", agreement, shift)

    def loss(numbers: Tensor) -> Tensor:
        return outline.loss(torch.sigmoid(outline.moved(numbers, shift)))

    latent = stages.fit_structure(latent, free, loss, steps=FIT_STEPS)
    return (outline.moved(stages.decode_numbers(latent)[0], shift) > 0).cpu()


def _latent(
    stages: ModelStages,
    source: Asset,
    part: _Part,
    after: Tensor,
    given: _Given,
    options: EditOptions,
    generator: torch.Generator,
    progress: Progress,
) -> tuple[SparseTensor, KeptRows]:
    """The structured latent on the voxels `after` [R, R, R]: the source's where they are kept."""
    device = source.latent.device
    coords = after.nonzero().int().to(device)
    rows = KeptRows.find(coords, source.coords, part.kept)
    voxels = torch.nn.functional.pad(coords, (1, 0))
    feats = source.latent.new_zeros(len(coords), source.latent.shape[1])
    known = torch.zeros(len(coords), 1, dtype=torch.bool, device=device)
    known[rows.new] = True
    if not bool(known.all()):
        condition, sampler = given.condition, options.latent_sampler
        if condition is None:  # of what is cut: the source's own picture, without guidance
            condition, sampler = _source_condition(stages, source, progress), replace(sampler, cfg_strength=0.0)
        values = rows.put(feats, stages.flow_units(source.latent))
        feats = stages.sample_latent(
            condition,
            voxels,
            sampler,
            generator,
            options.multi_image,
            progress,
            options.speed,
            known=Known(values, known, options.resample),
        ).feats
    feats = rows.put(feats, source.latent)
    return SparseTensor.create(feats, voxels, resolution=source.resolution, batch_size=1), rows


def _source_condition(stages: ModelStages, source: Asset, progress: Progress) -> Condition:
    """The condition of the source's own picture, else of a picture of its front; a text model has a plain word."""
    if PICTURES not in stages.inputs:
        return stages.read("object", progress=progress)
    if source.prepared:
        first = source.prepared[0]
        return stages.read([first.cutout], background="whole", progress=progress, window=first.box)
    cloud = source.gaussians or stages.decode_gaussians(_sparse(source))
    return stages.read([front_picture(cloud)], background="whole", progress=progress)


def _sparse(asset: Asset) -> SparseTensor:
    voxels = torch.nn.functional.pad(asset.coords, (1, 0))
    return SparseTensor.create(asset.latent, voxels, resolution=asset.resolution, batch_size=1)


@dataclass(frozen=True)
class _Decoding:
    """Decoders that take what is kept from the source; recolor: the other voxels take the nearest kept colour."""

    stages: ModelStages
    source: Asset
    kept: Tensor
    rows: KeptRows
    latent: SparseTensor
    recolor: bool

    def decoders(self) -> dict[str, Callable[[SparseTensor], Any]]:
        """Those of `TrellisPipeline.decode`, by representation."""
        return {"gaussians": self._gaussians, "mesh": self._mesh, "radiance_field": self._radiance_field}

    def source_mesh(self) -> Mesh:
        """The source's surface."""
        if self.source.mesh is not None:
            return self.source.mesh
        return self.stages.extract_surface(self.stages.decode_mesh_features(_sparse(self.source)))

    def _gaussians(self, latent: SparseTensor) -> GaussianCloud:
        made = self.stages.decode_gaussians(latent)
        before = self.source.gaussians or self.stages.decode_gaussians(_sparse(self.source))
        cloud = self._restored(made, before)
        if not self._adds:
            return cloud
        kept = torch.zeros(len(latent), dtype=torch.bool)
        kept[self.rows.new.cpu()] = True
        return capped_gaussians(cloud, cap=~kept, kept=kept)

    def _mesh(self, latent: SparseTensor) -> Mesh:
        made = self.stages.decode_mesh_features(latent)
        fine = fine_values(made, self.stages.decode_mesh_features(_sparse(self.source)), self.kept)
        if self._adds:
            cap = occupancy(latent.coords[:, 1:], latent.resolution) & ~self.kept
            fine = capped_values(fine, cap=cap, kept=self.kept)
        return self.stages.extract_surface(fine)

    def _radiance_field(self, latent: SparseTensor) -> RadianceField:
        made = self.stages.decode_radiance_field(latent)
        before = self.source.radiance_field or self.stages.decode_radiance_field(_sparse(self.source))
        return self._restored(made, before)

    def _restored(self, made: T, before: T) -> T:
        return self.rows.representation(made, before, voxels=len(self.latent), source_voxels=len(self.source.coords))

    @property
    def _adds(self) -> bool:
        """There are voxels that take the colour of kept ones."""
        return self.recolor and len(self.rows.new) < len(self.latent)


def _changed(source: Asset, made: Asset, mask: Tensor) -> int:
    """Voxels outside of `mask` that only one of the two has, or that have another latent."""
    rows = KeptRows.find(made.coords, source.coords, ~mask)
    same = int((made.latent[rows.new] == source.latent[rows.old].to(made.latent)).all(1).sum())
    outside = [int((~mask[tuple(asset.coords.cpu().long().unbind(1))]).sum()) for asset in (source, made)]
    return sum(outside) - len(rows.new) - same


def _kept(
    source: Asset,
    part: _Part,
    decoding: _Decoding,
    given: _Given,
    remove: bool,
    prepared: tuple[PreparedImage, ...],
    progress: Progress,
) -> Kept:
    """What the files of the edited asset keep; the source's files are made as far as they are not at hand."""
    surface = source.surface
    if surface is None:
        from trellis.export.chain import ExportChain

        sources = replace(source.file_sources, mesh=decoding.source_mesh())
        textured = ExportChain(sources, FileOptions(), progress=progress).textured
        surface = FileSurface.of_textured(textured, sources.mesh.vertices.device)  # type: ignore[union-attr]
    frame = source.view if remove else given.frame
    if frame is not None and frame.camera is None and frame == source.view:
        frame = replace(frame, camera=surface.camera)
    camera = None if frame is None or not prepared else frame.camera_of(prepared[0].box)
    return Kept(surface.mesh, part.mask, camera, pictured=not remove)
