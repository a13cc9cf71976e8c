"""What one job may be asked for: every option's default, range and help text, stated once.

The page's controls, the checks on requests and the record kept beside the results all come from the fields below.
"""

import dataclasses
import reprlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.app.presets import PRESET_NAMES, PRESETS
from trellis.errors import InvalidInputError
from trellis.runtime import PRECISIONS

MODELS_OWN = None  # a sampler value left to the model's pipeline.json
SAMPLING_OPTIONS = (
    "seed",
    "structure_steps",
    "structure_guidance",
    "latent_steps",
    "latent_guidance",
    "multi_image",
    "speed",
)
SETUP_OPTIONS = ("preset", "precision")  # how the model is opened
NOT_OF_FILES = (*SETUP_OPTIONS, "quality")
SET_BY_PRESETS = frozenset(name for preset in PRESETS.values() for name in preset.request)
# What a quality sets where a request does not state it itself: faces at most (a mesh with fewer keeps them all) and the
# texture. Without a quality the defaults below hold, which are those of the published program.
QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "draft": {"faces": 5_000, "texture_size": 512},
    "standard": {"faces": 500_000, "texture_size": 2048},
    "high": {"faces": 1_000_000, "texture_size": 4096},
    "ultra": {"faces": 2_000_000, "texture_size": 4096, "texture_mode": "best"},
}


@dataclass(frozen=True)
class Range:
    """A number between `minimum` and `maximum`, both included, in `step`s on a slider; whole if `integer`."""

    minimum: float
    maximum: float
    step: float
    integer: bool = False

    def describe(self) -> str:
        kind = "a whole number" if self.integer else "a number"
        return f"{kind} from {self.minimum:g} to {self.maximum:.10g}"

    def parse(self, name: str, value: object) -> int | float:
        """The value as int or float; raises InvalidInputError naming the field."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.minimum <= value <= self.maximum:
            if not self.integer:
                return float(value)
            if value == int(value):
                return int(value)
        raise InvalidInputError(f"{name} must be {self.describe()}, not {_shown(value)}.")


@dataclass(frozen=True)
class Choice:
    """One of a closed set of values."""

    values: tuple[Any, ...]

    def describe(self) -> str:
        return "one of " + ", ".join(str(value) for value in self.values)

    def parse(self, name: str, value: object) -> Any:
        """The value itself; raises InvalidInputError naming the field and listing the set."""
        for known in self.values:
            if type(value) is type(known) and value == known:
                return known
        raise InvalidInputError(f"{name} must be {self.describe()}, not {_shown(value)}.")


@dataclass(frozen=True)
class Switch:
    """On or off."""

    def describe(self) -> str:
        return "true or false"

    def parse(self, name: str, value: object) -> bool:
        """The value itself; raises InvalidInputError naming the field."""
        if isinstance(value, bool):
            return value
        raise InvalidInputError(f"{name} must be {self.describe()}, not {_shown(value)}.")


@dataclass(frozen=True)
class Subset:
    """One or more of a closed set of values, each once; kept in the order of the set."""

    values: tuple[str, ...]

    def describe(self) -> str:
        return "one or more of " + ", ".join(self.values)

    def parse(self, name: str, value: object) -> tuple[str, ...]:
        """The values as a tuple; raises InvalidInputError naming the field and listing the set."""
        chosen = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        if not chosen or any(item not in self.values for item in chosen) or len(set(chosen)) != len(chosen):
            raise InvalidInputError(f"{name} must be {self.describe()}, not {_shown(value)}.")
        return tuple(known for known in self.values if known in chosen)


Domain = Range | Choice | Switch | Subset


@dataclass(frozen=True)
class Option:
    """How a field is called and explained to people, and which values it takes; `unset` says what None means.

    Without `unset` there must be a value.
    """

    label: str
    help: str
    domain: Domain
    unset: str | None = None

    @property
    def optional(self) -> bool:
        return self.unset is not None

    def parse(self, name: str, value: object) -> Any:
        """The value in its proper type; raises InvalidInputError naming the field."""
        if value is None and self.optional:
            return None
        return self.domain.parse(name, value)


def _shown(value: object) -> str:
    """The value for a message, shortened; integers of thousands of digits have no text at all."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 128 else reprlib.repr(value)


def _option(default: Any, label: str, help: str, domain: Domain, *, unset: str | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"option": Option(label, help, domain, unset)})


_OWN = "model's own"
_STARTED = "as started"
_BY_OPTIONS = "as the options below say"
_STEPS = Range(1, 100, 1, integer=True)
_GUIDANCE = Range(0, 20, 0.1)
_SEEDS = Range(0, 2**31 - 1, 1, integer=True)


@dataclass(frozen=True)
class GenerationRequest:
    """Everything that, with the pictures and the model, decides the result of a job.

    Sampler values of None are the model's own (its pipeline.json). `quality` and `preset` name values of other options,
    which `from_dict` fills in where they are not stated. `simplify` and `faces` exclude each other: with
    `faces` set, `simplify` is not used and must be left at its default. `unstated` are the options that nobody set:
    they are at their default, but the memory preset that the pipeline is opened with goes before it (`under`). Raises
    InvalidInputError naming the field.
    """

    quality: str | None = _option(
        None,
        "Quality",
        "Faces at most, texture: draft 5,000, 512 px; standard 500,000, 2048 px; high 1,000,000, 4096 px; "
        "ultra 2,000,000, 4096 px in its best mode.",
        Choice(tuple(QUALITIES)),
        unset=_BY_OPTIONS,
    )
    preset: str | None = _option(
        None,
        "Memory preset",
        "minimal needs the least memory, fastest the most; prototype is a quick look; auto goes by what is free.",
        Choice(PRESET_NAMES),
        unset=_STARTED,
    )
    precision: str | None = _option(
        None,
        "Precision",
        "full is float32 everywhere; half and bfloat16 need half the memory and are faster on a graphics card.",
        Choice(tuple(PRECISIONS)),
        unset=_STARTED,
    )
    seed: int = _option(0, "Seed", "The same seed, picture and settings give the same model.", _SEEDS)
    structure_steps: int | None = _option(
        MODELS_OWN, "Structure steps", "More steps give a more careful overall shape, slower.", _STEPS, unset=_OWN
    )
    structure_guidance: float | None = _option(
        MODELS_OWN, "Structure guidance", "How strictly the shape follows the picture.", _GUIDANCE, unset=_OWN
    )
    latent_steps: int | None = _option(
        MODELS_OWN, "Detail steps", "More steps give finer surface and colours, slower.", _STEPS, unset=_OWN
    )
    latent_guidance: float | None = _option(
        MODELS_OWN, "Detail guidance", "How strictly surface and colours follow the picture.", _GUIDANCE, unset=_OWN
    )
    multi_image: str = _option(
        "stochastic",
        "Several pictures",
        "stochastic takes the pictures in turn, multidiffusion averages them at every step.",
        Choice(("stochastic", "multidiffusion")),
    )
    speed: str = _option(
        "exact",
        "Speed",
        "fast leaves out every second evaluation of the networks, fastest also every second one of their guidance: "
        "0.6 and 0.5 of the steps' time, for 99.5 % and 99.2 % of the same voxels on the embedded model.",
        Choice(("exact", "fast", "fastest")),
    )
    simplify: float = _option(
        0.95, "Simplify", "Share of the mesh's faces that is removed; 0 keeps them all.", Range(0, 0.99, 0.01)
    )
    faces: int | None = _option(
        None,
        "Faces",
        "Number of faces to keep, in place of Simplify.",
        Range(100, 5_000_000, 1, True),
        unset="as Simplify says",
    )
    texture_size: int = _option(
        1024,
        "Texture size",
        "Side of the texture in pixels; larger is sharper, slower.",
        Choice((512, 1024, 2048, 4096)),
    )
    texture_mode: str = _option(
        "fast",
        "Texture mode",
        "fast projects views of the Gaussians; best takes more views and fits the texture to their pixels.",
        Choice(("fast", "best")),
    )
    unwrap: str = _option(
        "builtin",
        "Texture coordinates",
        "builtin takes seconds; xatlas takes minutes from 100,000 faces on.",
        Choice(("builtin", "xatlas")),
    )
    blend_picture: bool = _option(
        True, "Blend in the picture", "Lays the picture itself over the texture where it sees the surface.", Switch()
    )
    normal_map: bool = _option(
        False, "Normal map", "Keeps the relief of the full mesh as a second texture of the simplified one.", Switch()
    )
    double_sided: bool = _option(
        False, "Double-sided", "Viewers draw the back of the surface too; for meshes with openings.", Switch()
    )
    formats: tuple[str, ...] = _option(
        ("glb", "ply", "mp4"),
        "Files",
        "glb, obj, usdz: textured mesh. stl, mesh_ply: its shape. maps: textures. ply, splat: Gaussians. "
        "radiance_field: that, for this program. mp4: preview.",
        Subset(("glb", "obj", "usdz", "stl", "mesh_ply", "maps", "ply", "splat", "radiance_field", "mp4")),
    )
    texture_format: str = _option(
        "png",
        "Texture inside GLB",
        "webp makes the file several times smaller; a few older programs do not read it.",
        Choice(("png", "webp")),
    )
    stl_size: float = _option(100.0, "STL size", "Longest side of the STL in millimetres.", Range(1, 10_000, 1))
    preview_content: tuple[str, ...] | None = _option(
        None,
        "Preview shows",
        "Pictures of the video, side by side; none chosen: the mesh of the files (else the Gaussians) beside normals.",
        Subset(("gaussians", "normals", "colors", "textured", "radiance_field")),
        unset="textured, or gaussians where no file holds the textured mesh; and normals",
    )
    preview_frames: int = _option(60, "Preview frames", "Length of the preview video.", Range(1, 600, 1, integer=True))
    preview_size: int = _option(
        384, "Preview size", "Side of the preview video in pixels.", Choice((256, 384, 512, 768, 1024))
    )
    unstated: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, option in options().items():
            object.__setattr__(self, name, option.parse(name, getattr(self, name)))
        if self.faces is not None and self.simplify != default_of("simplify"):
            raise InvalidInputError("simplify and faces exclude each other: give one of them.")

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that decide the asset itself; the others decide its files."""
        return {name: getattr(self, name) for name in SAMPLING_OPTIONS}

    @property
    def representations(self) -> tuple[str, ...]:
        """What the asset is decoded to: Gaussians and mesh always, for other files of it are made of them."""
        asked = {*self.formats, *(self.preview_content or ())}
        return ("gaussians", "mesh", *(["radiance_field"] if "radiance_field" in asked else []))

    @property
    def setup(self) -> dict[str, Any]:
        """The options that decide how the model is opened, where they are stated."""
        return {name: getattr(self, name) for name in SETUP_OPTIONS if getattr(self, name) is not None}

    @property
    def files(self) -> dict[str, Any]:
        """The options that decide the files of an asset: the keywords of `Asset.save`."""
        others = (*SAMPLING_OPTIONS, *NOT_OF_FILES)
        return {name: getattr(self, name) for name in options() if name not in others or name == "seed"}

    def with_files(self, values: Mapping[str, Any]) -> "GenerationRequest":
        """The same asset with other files; raises InvalidInputError for an option that decides the asset itself."""
        decisive = (*SAMPLING_OPTIONS, *SETUP_OPTIONS)
        wrong = sorted(set(values) & set(decisive))
        if wrong:
            raise InvalidInputError(f"{wrong[0]} decides the asset itself: generate a new one to change it.")
        kept = {name: value for name, value in self.stated.items() if name in decisive}
        return self.from_dict(kept | dict(values))

    def under(self, preset: str | None) -> "GenerationRequest":
        """The request as a pipeline of this memory preset carries it out: the preset sets what is `unstated`."""
        values: Mapping[str, Any] = {} if preset is None else PRESETS[preset].request
        chosen = {name: value for name, value in values.items() if name in self.unstated}
        return dataclasses.replace(self, **chosen, unstated=frozenset())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GenerationRequest":
        """A request from plain values; raises InvalidInputError naming the field.

        What is missing comes from the quality and then the memory preset that are stated, else it is `unstated`.
        """
        unknown = sorted(set(values) - set(options()))
        if unknown:
            raise InvalidInputError(f"Unknown option {unknown[0]!r}; known: {', '.join(options())}.")
        stated = _filled(values) | dict(values)
        return cls(**stated, unstated=frozenset(options()) - frozenset(stated))

    def to_dict(self) -> dict[str, Any]:
        """Plain values fit for JSON; `from_dict` makes a request of them that states everything."""
        values = {name: getattr(self, name) for name in options()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def stated(self) -> dict[str, Any]:
        """`to_dict` without what is `unstated`; `from_dict` is its inverse."""
        return {name: value for name, value in self.to_dict().items() if name not in self.unstated}


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the stated quality and memory preset set."""
    quality, preset = values.get("quality"), values.get("preset")
    filled: dict[str, Any] = dict(PRESETS[preset].request) if isinstance(preset, str) and preset in PRESETS else {}
    if isinstance(quality, str) and quality in QUALITIES:
        filled |= QUALITIES[quality]
    if "simplify" in values:  # in place of a number of faces
        filled.pop("faces", None)
    return filled


def without_untouched(values: Mapping[str, Any], *, preset: str | None) -> dict[str, Any]:
    """The values of a form that shows every option, without those of SET_BY_PRESETS that nobody changed in it.

    Such a form shows what its quality and the stated `preset` set, else the defaults.
    """
    shown = GenerationRequest.from_dict({"quality": values.get("quality"), "preset": preset})
    return {n: value for n, value in values.items() if n not in SET_BY_PRESETS or value != getattr(shown, n)}


def options() -> dict[str, Option]:
    """Every option of a request by its name, in the order of the fields."""
    fields = dataclasses.fields(GenerationRequest)
    return {field.name: field.metadata["option"] for field in fields if "option" in field.metadata}


def default_of(name: str) -> Any:
    """The default of the option called `name`."""
    return next(field.default for field in dataclasses.fields(GenerationRequest) if field.name == name)


def draw_seed() -> int:
    """A new random seed in the range of the option."""
    return secrets.randbelow(int(_SEEDS.maximum) + 1)
