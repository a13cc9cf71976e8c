"""`config.yaml` of a Hunyuan3D-2 shape model: sizes of its networks, its schedule, its picture.

The file names classes of the published program; they are recognised by their last name and never imported.
Source: docs/developer/hunyuan-facts.md, section 1.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from trellis.conditioning.shape_picture import EncoderSizes, PictureRecipe
from trellis.errors import CheckpointError
from trellis.families.family import VIEWS
from trellis.models.vecset_sizes import DecoderSizes, FlowSizes

CONFIG_FILE = "config.yaml"
LARGEST_FILE = 1 << 20  # bytes; the published ones have two thousand
LARGEST = 1 << 16  # of every size; those of the published networks stay below 5000
# Folders of the turbo decoders, which answer the latents of the mini models or of the others, several times as fast.
DECODER_FOLDERS = {True: "hunyuan3d-vae-v2-mini-turbo", False: "hunyuan3d-vae-v2-0-turbo"}

FLOWS, DECODERS, CONDITIONERS = ("Hunyuan3DDiT",), ("ShapeVAE",), ("SingleImageEncoder",)
ENCODERS = {"DinoImageEncoder": 1, "DinoImageEncoderMV": len(VIEWS)}  # most pictures that one takes
SCHEDULERS = {"FlowMatchEulerDiscreteScheduler": False, "ConsistencyFlowMatchEulerDiscreteScheduler": True}
PICTURE_RECIPES = ("ImageProcessorV2", "MVImageProcessorV2")

S = TypeVar("S")
T = TypeVar("T", int, float, bool)


@dataclass(frozen=True)
class HunyuanConfig:
    """One shape model: what its `config.yaml` says.

    pcm_timesteps: the grid that the times of a consistency model lie on; None: steps are evenly spaced.
    """

    flow: FlowSizes
    decoder: DecoderSizes
    encoder: EncoderSizes
    picture: PictureRecipe
    pcm_timesteps: int | None = None

    @property
    def kind(self) -> str:
        """ "plain", "fast" or "turbo": how guidance and steps work."""
        if self.pcm_timesteps is not None:
            return "turbo"
        return "fast" if self.flow.guidance_embed else "plain"

    @property
    def is_mini(self) -> bool:
        """Whether it is of the small ones, whose latents have a decoder of their own."""
        return self.decoder.num_latents <= 512

    @property
    def decoder_folder(self) -> str:
        """The published name of the folder of the turbo decoder that fits."""
        return DECODER_FOLDERS[self.is_mini]

    @property
    def views(self) -> tuple[str, ...]:
        """The sides that its pictures show, in order; one picture of any side has no name."""
        return VIEWS[: self.encoder.most_pictures] if self.encoder.most_pictures > 1 else ()

    @property
    def steps(self) -> int:
        """Steps of a generation that asks for no number."""
        return 5 if self.kind == "turbo" else 30

    @property
    def guidance(self) -> float:
        """Guidance of a generation that asks for none."""
        return 5.0


@dataclass(frozen=True)
class _Section:
    """A `target` with its `params`, or a mapping inside of them; `place` names it in messages."""

    place: str
    values: Mapping[str, Any]

    def number(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A checked value; raises CheckpointError when it is missing, of another type or absurd."""
        value = self.values.get(name, default)
        if value is None:
            raise CheckpointError(f"{self.place} has no {name}.")
        if kind is bool:
            if not isinstance(value, bool):
                raise CheckpointError(f"{self.place}: {name} must be true or false, not {value!r:.40}.")
            return value
        if isinstance(value, str) and kind is float:  # YAML reads 1e-6 without a dot as text
            value = _float(value)
        fits = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not 0 < value <= LARGEST:
            what = "number" if kind is float else "whole number"
            raise CheckpointError(f"{self.place}: {name} must be a positive {what} up to {LARGEST}, not {value!r:.40}.")
        return kind(value)

    def sizes(self, kind: type[S], **known: int) -> S:
        """An object of a dataclass of numbers, of the values that are called as its fields are, but for those known."""
        values: dict[str, Any] = dict(known)
        for field in fields(cast(Any, kind)):
            if field.name not in known:
                default = None if field.default is MISSING else field.default
                values[field.name] = self.number(field.name, cast(Any, field.type), default)
        return kind(**values)

    def fixed(self, name: str, expected: Any) -> None:
        """Raise CheckpointError where the file asks for something that these networks do not have."""
        found = self.values.get(name, expected)
        if isinstance(expected, float) and isinstance(found, str):
            found = _float(found)
        if found != expected:
            raise CheckpointError(f"{self.place}: {name} = {found!r:.40} is not supported, only {expected!r}.")

    def inner(self, name: str) -> "_Section":
        """A mapping that must be there; raises CheckpointError."""
        value = self.values.get(name)
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{self.place} has no section {name}.")
        return _Section(f"{self.place}, {name}", value)

    def name(self, key: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
        """The last name of a class, one of `known`; raises CheckpointError."""
        value = self.values.get(key)
        last = value.rpartition(".")[2] if isinstance(value, str) else value
        if not isinstance(last, str) or last not in known:
            raise CheckpointError(f"{self.place}: {key} {value!r:.80} is unknown; known: {', '.join(known)}.")
        return last


def read_config(path: str | Path) -> HunyuanConfig:
    """Read the `config.yaml` of a shape model; raises CheckpointError naming what is missing, unknown or wrong."""
    top = _read(Path(path))
    sections = ("model", "vae", "conditioner", "scheduler", "image_processor")
    missing = [name for name in sections if not isinstance(top.values.get(name), Mapping)]
    if missing:
        raise CheckpointError(f"{path} describes no Hunyuan3D-2 shape model: it has no section {', '.join(missing)}.")
    config = HunyuanConfig(
        flow=_flow(_params(top.inner("model"), FLOWS)),
        decoder=_decoder(_params(top.inner("vae"), DECODERS)),
        encoder=_encoder(_params(top.inner("conditioner"), CONDITIONERS)),
        pcm_timesteps=_schedule(top.inner("scheduler")),
        picture=_picture(_params(top.inner("image_processor"), PICTURE_RECIPES)),
    )
    _check_together(config, str(path))
    return config


def read_decoder_config(path: str | Path) -> DecoderSizes:
    """Read the `config.yaml` of a decoder alone, as the turbo ones have it; raises CheckpointError."""
    top = _read(Path(path))
    return _decoder(_params(top.inner("vae") if "vae" in top.values else top, DECODERS))


def _read(path: Path) -> _Section:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise CheckpointError(f"{path} is larger than any description of a model.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing.") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} cannot be read as YAML: {reason:.200}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a mapping of sections.")
    return _Section(str(path), data)


def _params(section: _Section, targets: tuple[str, ...]) -> _Section:
    section.name("target", targets)
    return section.inner("params")


def _flow(params: _Section) -> FlowSizes:
    params.fixed("qkv_bias", True)
    sizes = params.sizes(FlowSizes)
    _check_heads(params.place, sizes.hidden_size, sizes.num_heads)
    return sizes


def _decoder(params: _Section) -> DecoderSizes:
    for name, expected in (("include_pi", False), ("qkv_bias", False), ("qk_norm", True)):
        params.fixed(name, expected)
    sizes = params.sizes(DecoderSizes)
    _check_heads(params.place, sizes.width, sizes.heads)
    if sizes.heads % sizes.geo_decoder_downsample_ratio:
        raise CheckpointError(f"{params.place}: {sizes.heads} heads cannot be divided by geo_decoder_downsample_ratio.")
    return sizes


def _encoder(params: _Section) -> EncoderSizes:
    encoder = params.inner("main_image_encoder")
    most = ENCODERS[encoder.name("type", ENCODERS)]
    kwargs = encoder.inner("kwargs")
    network = kwargs.inner("config")
    network.fixed("use_swiglu_ffn", True)
    network.fixed("layer_norm_eps", 1e-6)
    sizes = network.sizes(EncoderSizes, most_pictures=min(most, kwargs.number("view_num", int, most)))
    sizes = replace(sizes, image_size=kwargs.number("image_size", int, sizes.image_size))
    _check_heads(network.place, sizes.hidden_size, sizes.num_attention_heads)
    return sizes


def _schedule(section: _Section) -> int | None:
    is_consistency = SCHEDULERS[section.name("target", SCHEDULERS)]
    params = _Section(section.place, section.values.get("params") or {})
    params.fixed("num_train_timesteps", 1000)
    if not is_consistency:
        params.fixed("shift", 1.0)
        return None
    grid = params.number("pcm_timesteps", int)
    if grid > 1000:
        raise CheckpointError(f"{section.place}: pcm_timesteps must be at most 1000, not {grid}.")
    return grid


def _picture(params: _Section) -> PictureRecipe:
    recipe = params.sizes(PictureRecipe)
    if not recipe.border_ratio < 1:
        raise CheckpointError(f"{params.place}: border_ratio must be less than 1, not {recipe.border_ratio}.")
    return recipe


def _check_heads(place: str, width: int, heads: int) -> None:
    if width % heads:
        raise CheckpointError(f"{place}: a width of {width} cannot be divided into {heads} heads.")


def _check_together(config: HunyuanConfig, place: str) -> None:
    for what, first, second in (
        ("latent channels", config.flow.in_channels, config.decoder.embed_dim),
        ("condition channels", config.flow.context_in_dim, config.encoder.hidden_size),
    ):
        if first != second:
            raise CheckpointError(f"{place}: the networks do not fit each other: {first} and {second} {what}.")
    if config.kind == "turbo" and not config.flow.guidance_embed:
        raise CheckpointError(f"{place}: a consistency schedule needs a flow with guidance_embed.")


def _float(text: str) -> float:
    """A number that YAML read as text; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
