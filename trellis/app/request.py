"""What one job may be asked for: one class an operation, in which every option is stated once.

The page's controls, the flags of the command line, the interface's documents, the checks and the record kept beside the
results all come from the fields of these classes and of `FileOptions`.
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from trellis.app.boxes import BOXES_FORM, Boxes, PictureFrame
from trellis.app.presets import PRESET_NAMES, PRESETS, TABLES
from trellis.encoding.options import UV_CHOICES, MeshOptions
from trellis.errors import InvalidInputError
from trellis.export.options import TEXTURE_SIZES, FileOptions
from trellis.families.family import VIEWS
from trellis.options import (
    CHANGE,
    FILES,
    MACHINE,
    SHAPE,
    TEXTURE,
    WHOLE,
    OneOf,
    Options,
    Seed,
    SomeOf,
    option,
    shown,
)
from trellis.runtime import PRECISIONS

SET_BY_PRESETS = frozenset(name for table in TABLES.values() for preset in table.values() for name in preset.request)
SEED_LIMIT = 2**31
# What a quality sets where a request does not state it itself: faces at most (a mesh with fewer keeps them all) and the
# texture. Without a quality the defaults hold, which are those of the published program.
QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "draft": {"faces": 5_000, "texture_size": 512},
    "standard": {"faces": 500_000, "texture_size": 2048},
    "high": {"faces": 1_000_000, "texture_size": 4096},
    "ultra": {"faces": 2_000_000, "texture_size": 4096, "texture_mode": "best"},
}
NO_TEXTURE = "none"
_OWN, _STARTED = "model's own", "as started"
_Steps = Annotated[int, Field(ge=1, le=100), WHOLE]
_Guidance = Annotated[float, Field(ge=0, le=20)]


class SetupOptions(Options):
    """How the model is opened."""

    preset: Annotated[str, OneOf(PRESET_NAMES)] | None = option(
        None,
        "Memory preset",
        "minimal needs the least memory, fastest the most; prototype is a quick look; auto goes by what is free.",
        group=MACHINE,
        null=_STARTED,
    )
    precision: Annotated[str, OneOf(tuple(PRECISIONS))] | None = option(
        None,
        "Precision",
        "full is float32 everywhere; half and bfloat16 need half the memory and are faster on a graphics card.",
        group=MACHINE,
        null=_STARTED,
    )


class StructureOptions(Options):
    """How the networks go about the overall shape; None is the model's own value (its pipeline.json)."""

    structure_steps: _Steps | None = option(
        None, "Structure steps", "More steps give a more careful overall shape, slower.", group=SHAPE, null=_OWN
    )
    structure_guidance: _Guidance | None = option(
        None, "Structure guidance", "How strictly the shape follows the picture.", group=SHAPE, step=0.1, null=_OWN
    )


class DetailOptions(Options):
    """How the networks go about surface and colours; None is the model's own value (its pipeline.json)."""

    latent_steps: _Steps | None = option(
        None, "Detail steps", "More steps give finer surface and colours, slower.", group=SHAPE, null=_OWN
    )
    latent_guidance: _Guidance | None = option(
        None,
        "Detail guidance",
        "How strictly surface and colours follow the picture.",
        group=SHAPE,
        step=0.1,
        null=_OWN,
    )
    multi_image: Annotated[str, OneOf(("stochastic", "multidiffusion"))] = option(
        "stochastic",
        "Several pictures",
        "stochastic takes the pictures in turn, multidiffusion averages them at every step.",
        group=SHAPE,
    )
    speed: Annotated[str, OneOf(("exact", "fast", "fastest"))] = option(
        "exact",
        "Speed",
        "fast leaves out every second evaluation of the networks, fastest also every second one of their guidance: "
        "0.6 and 0.5 of the steps' time, for 99.5 % and 99.2 % of the same voxels with 25 steps of the embedded model. "
        "Of four steps nothing is left out.",
        group=SHAPE,
    )


class SamplingOptions(DetailOptions, StructureOptions):
    """How the networks go about the asset itself."""


class ShapeOptions(Options):
    """What models take that make a shape first, which another model colours (Hunyuan3D); no others take it."""

    surface_resolution: Annotated[int, Field(ge=64, le=512), WHOLE] | None = option(
        None,
        "Surface resolution",
        "Cells along each side in which the surface is looked for; more shows finer parts, slower. Hunyuan3D only.",
        group=SHAPE,
        null="256",
    )
    texture_model: Annotated[str, Field(min_length=1, max_length=200)] | None = option(
        None,
        "Texture model",
        "The TRELLIS model that colours the shape; none lays the picture alone on it. Hunyuan3D only.",
        group=SHAPE,
        unit="NAME",
        null="the best one here",
        form=f"the name of a TRELLIS model for pictures, or {NO_TEXTURE}",
    )
    views: Annotated[tuple[str, ...], SomeOf(VIEWS, sort=False)] | None = option(
        None,
        "Views",
        "The sides that the pictures show, one a picture in the same order; for models of several views.",
        group=SHAPE,
        null="front, left, back, right, as far as there are pictures",
    )


class JobRequest(SetupOptions):
    """What every operation may be asked for; with what it is made of and the model, that decides the result.

    `quality` and `preset` name values of other options, which are filled in where they are not stated. `unstated` are
    the options that nobody set: they are at their default, but the memory preset that the pipeline is opened with goes
    before it (`under`). Raises InvalidInputError naming the field.
    """

    operation: str  # each class allows its own alone
    seed: Seed = option(0, "Seed", "The same seed, picture and settings give the same model.", group=SHAPE)

    @model_validator(mode="wrap")
    @classmethod
    def _filled(cls, values: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The values with what the stated quality, and after it the memory preset, set.

        What the preset sets is not stated: of another family's model it may be something else.
        """
        if not isinstance(values, Mapping):  # a request already
            return handler(values)
        quality, preset = values.get("quality"), values.get("preset")
        given: dict[str, Any] = dict(QUALITIES[quality]) if isinstance(quality, str) and quality in QUALITIES else {}
        if "simplify" in values:  # in place of a number of faces
            given.pop("faces", None)
        given = {name: value for name, value in given.items() if name in cls.model_fields} | dict(values)
        filled: Mapping[str, Any] = PRESETS[preset].request if isinstance(preset, str) and preset in PRESETS else {}
        filled = {name: value for name, value in filled.items() if name in cls.model_fields and name not in given}
        made = handler(filled | given)
        made.model_fields_set.difference_update(filled)
        return made

    @property
    def unstated(self) -> frozenset[str]:
        return frozenset(self.options()) - self.model_fields_set

    @property
    def setup(self) -> dict[str, Any]:
        """The options that decide how the model is opened, where they are stated."""
        return self.model_dump(include=set(SetupOptions.model_fields), exclude_none=True)

    @property
    def reading(self) -> dict[str, Any]:
        """The options that say how a mesh file stands: keywords of `Pipeline.load_mesh`."""
        return self.model_dump(include=set(MeshOptions.model_fields))

    @property
    def stated(self) -> dict[str, Any]:
        """`to_dict` without what is `unstated`; `read_request` is its inverse."""
        return {name: value for name, value in self.to_dict().items() if name not in self.unstated}

    def under(self, preset: str | None, table: str = "trellis") -> Self:
        """The request as a pipeline of this memory preset carries it out: the preset sets what is `unstated`.

        table: one of TABLES, that of the pipeline's model.
        """
        values: Mapping[str, Any] = {} if preset is None else TABLES[table][preset].request
        return type(self)(**self.to_dict() | {name: values[name] for name in self.unstated & set(values)})

    def leaving_open(self, names: frozenset[str]) -> Self:
        """The same with these options, whatever they are at, among the `unstated`."""
        return self.model_construct(self.model_fields_set - names, **dict(self))


class AssetRequest(JobRequest, FileOptions):
    """What every operation may be asked for that makes an asset, of which there are files then."""

    quality: Annotated[str, OneOf(tuple(QUALITIES))] | None = option(
        None,
        "Quality",
        "Faces at most, texture: draft 5,000, 512 px; standard 500,000, 2048 px; high 1,000,000, 4096 px; "
        "ultra 2,000,000, 4096 px in its best mode.",
        group=FILES,
        null="as the single options say",
    )

    @classmethod
    def decisive_options(cls) -> frozenset[str]:
        """The names of the options that do not change without a new asset."""
        return frozenset(cls.options()) - frozenset(FileOptions.options()) - {"quality"} | {"seed"}

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that decide the asset itself; the others decide its files, or how its source is read."""
        others = {*SetupOptions.model_fields, *MeshOptions.model_fields}
        return self.model_dump(include=set(self.decisive_options()) - others)

    @property
    def representations(self) -> tuple[str, ...]:
        """What the asset is decoded to: Gaussians and mesh always, for other files of it are made of them."""
        asked = {*self.formats, *(self.preview_content or ())}
        return ("gaussians", "mesh", *(["radiance_field"] if "radiance_field" in asked else []))

    @property
    def files(self) -> dict[str, Any]:
        """The options that decide the files of an asset: the keywords of `Asset.save`."""
        return self.model_dump(include=set(FileOptions.model_fields))

    def with_files(self, values: Mapping[str, Any]) -> Self:
        """The same asset with other files; raises InvalidInputError for an option that decides the asset itself."""
        decisive = self.decisive_options()
        wrong = sorted(decisive & set(values))
        if wrong:
            message = f"{wrong[0]} decides the asset itself: generate a new one to change it."
            raise InvalidInputError(message, field=wrong[0])
        return type(self)(**{name: value for name, value in self.stated.items() if name in decisive} | dict(values))

    @property
    def stated_files(self) -> dict[str, Any]:
        """What is stated of the files, for those of a draft: the values that `with_files` takes."""
        names = {*FileOptions.options(), "quality"} - {"seed", "draft"}
        return {name: value for name, value in self.stated.items() if name in names}

    def drafts(self, count: int) -> list[Self]:
        """The drafts of so many seeds in a row, from this request's own."""
        seeds = [(self.seed + index) % SEED_LIMIT for index in range(count)]
        return [type(self)(**self.stated | {"seed": seed, "draft": True}) for seed in seeds]


class GenerationRequest(AssetRequest, ShapeOptions, SamplingOptions):
    """A new asset of pictures or a text."""

    operation: Literal["generate"] = "generate"


class VariantRequest(AssetRequest, SamplingOptions, MeshOptions):
    """An asset of the source's shape with the surface and the colours of pictures or a text."""

    operation: Literal["variant"] = "variant"
    strength: Annotated[float, Field(ge=0.05, le=1)] = option(
        1.0,
        "Strength",
        "How much surface and colours change: at 1 nothing of the source's own stays, at 0.05 almost all.",
        group=CHANGE,
        step=0.05,
    )
    shape_strength: Annotated[float, Field(ge=0, le=1)] = option(
        0.0,
        "Shape strength",
        "How much the overall shape changes; 0 keeps it exactly.",
        group=CHANGE,
        step=0.05,
    )


class EditRequest(AssetRequest, SamplingOptions, MeshOptions):
    """The source with what is in the boxes made anew, or removed; all else stays.

    view: what is known of the picture where it was painted over a view of the source, as the file says that stands
    beside the view.
    """

    operation: Literal["edit"] = "edit"
    box: Boxes | None = option(
        None,
        "Boxes",
        "What is made anew: boxes of two corners each, in the frame of the source's GLB (y up, front +z).",
        group=CHANGE,
        unit="X,Y,Z,X,Y,Z",
        null="none, which is not enough",
        form=BOXES_FORM,
    )
    remove: bool = option(False, "Remove", "Removes what is in the boxes, and closes what that opens.", group=CHANGE)
    drop_loose: bool = option(
        True, "Drop loose pieces", "Removes new pieces that hang on nothing, where the source had none.", group=CHANGE
    )
    resample: Annotated[int, Field(ge=1, le=10), WHOLE] = option(
        1, "Resampling", "How often each step is done; more fits the new part to the old a little better.", group=CHANGE
    )
    keep: Annotated[str, OneOf(("graft", "merge"))] | None = option(
        None,
        "Keep",
        "graft leaves the faces, coordinates and materials of a GLB or glTF file outside of the boxes as they are and "
        "adds the new part to them; merge makes one mesh of all.",
        group=CHANGE,
        null="graft for a GLB or glTF file of your own, else merge",
    )
    view: PictureFrame | None = None


class RetextureRequest(JobRequest, DetailOptions, MeshOptions):
    """The mesh file of the source with other colours; all else in it stays."""

    operation: Literal["retexture"] = "retexture"
    uvs: Annotated[str, OneOf(UV_CHOICES)] = option(
        "auto",
        "Texture coordinates",
        "keep takes those of the mesh, new makes others; auto takes new where there are none that can be used; tiles "
        "makes pictures alone, one for each UDIM tile.",
        group=TEXTURE,
    )
    texture_size: Annotated[int, OneOf(TEXTURE_SIZES)] | None = option(
        None,
        "Texture size",
        "Side of the texture in pixels.",
        group=TEXTURE,
        null="that of the one replaced, else 1024",
    )
    blend_picture: bool = option(
        True,
        "Blend in the picture",
        "Lays the picture itself over the texture where it sees the surface.",
        group=TEXTURE,
    )

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that decide the new colours."""
        return self.model_dump(exclude={"operation", *SetupOptions.model_fields, *MeshOptions.model_fields})


class EncodeRequest(AssetRequest, MeshOptions):
    """An asset of a mesh file, as the model sees it."""

    operation: Literal["encode"] = "encode"


Operations = Mapping[str, type[JobRequest]]
OPERATIONS: Operations = {
    "generate": GenerationRequest,
    "variant": VariantRequest,
    "edit": EditRequest,
    "retexture": RetextureRequest,
    "encode": EncodeRequest,
}


def operation_of(values: Mapping[str, Any], operations: Operations = OPERATIONS) -> type[JobRequest]:
    """The class of the operation that plain values state, by default the first; raises InvalidInputError."""
    name = values.get("operation", next(iter(operations)))
    if not isinstance(name, str) or name not in operations:
        known = ", ".join(operations)
        raise InvalidInputError(f"operation must be one of {known}, not {shown(name)}.", field="operation")
    return operations[name]


def read_request(values: Mapping[str, Any], operations: Operations = OPERATIONS) -> JobRequest:
    """A request from plain values, such as a record's; raises InvalidInputError naming the field."""
    return operation_of(values, operations)(**values)


def form_request(quality: str | None, preset: str | None, table: str = "trellis") -> GenerationRequest:
    """What a form shows that has every option, after a choice of quality and memory preset for a model of `table`."""
    request = GenerationRequest(quality=quality, preset=preset)
    return request.under(preset if preset in TABLES[table] else None, table)


def without_untouched(values: Mapping[str, Any], *, preset: str | None, table: str = "trellis") -> dict[str, Any]:
    """The values of a form that shows every option, without those of SET_BY_PRESETS that nobody changed in it.

    Such a form shows what its quality and the stated `preset` set, else the defaults.
    """
    form = form_request(values.get("quality"), preset, table)
    return {n: value for n, value in values.items() if n not in SET_BY_PRESETS or value != getattr(form, n)}


def draw_seed() -> int:
    """A new random seed in the range of the option."""
    return secrets.randbelow(SEED_LIMIT)
