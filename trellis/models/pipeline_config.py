"""`pipeline.json`: which networks a model has and how it samples."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trellis.atomic import write_bytes
from trellis.errors import CheckpointError

PIPELINES = ("TrellisImageTo3DPipeline", "TrellisTextTo3DPipeline")
TEXTURE_SOURCES = ("gaussians", "mesh")
SAMPLER = "FlowEulerGuidanceIntervalSampler"
REQUIRED_ROLES = ("sparse_structure_flow_model", "sparse_structure_decoder", "slat_flow_model")
DECODERS = {"gaussians": "slat_decoder_gs", "mesh": "slat_decoder_mesh", "radiance_field": "slat_decoder_rf"}
OPTIONAL_ROLES = (*DECODERS.values(), "sparse_structure_encoder", "slat_encoder")
PIPELINE_FILE = "pipeline.json"
LARGEST_JSON = 1 << 24  # bytes; the published ones have a few thousand
MOST_STEPS = 1000
MOST_CHANNELS = 1024  # of a structured latent; the published ones have 8
LARGEST_PICTURE = 4096  # that an image encoder takes


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Euler sampling of a flow with guidance of `cfg_strength` for times in `cfg_interval` (0..1, inclusive).

    learned_strength: what of the guidance the flow gives by itself; not in the published form, and written only if
    there is any.
    """

    steps: int
    cfg_strength: float
    cfg_interval: tuple[float, float]
    rescale_t: float
    sigma_min: float = 1e-5
    learned_strength: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.cfg_interval
        numbers = (self.cfg_strength, self.rescale_t, self.sigma_min, self.learned_strength)
        fits = isinstance(self.steps, int) and 1 <= self.steps <= MOST_STEPS
        fits &= self.rescale_t > 0 and self.learned_strength >= 0
        if not fits or not all(map(math.isfinite, numbers)) or not 0 <= low <= high <= 1:
            raise CheckpointError(f"Sampler values out of range: {self}.")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SamplerConfig":
        """Parse a sampler entry of pipeline.json; raises CheckpointError for another sampler or missing values."""
        if data.get("name") != SAMPLER:
            raise CheckpointError(f"Unknown sampler {data.get('name')!r}; {SAMPLER} is supported.")
        values = {**data.get("args", {}), **data.get("params", {})}
        try:
            values["cfg_interval"] = tuple(values["cfg_interval"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"Sampler values are missing or unknown: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        params: dict[str, Any] = {
            "steps": self.steps,
            "cfg_strength": self.cfg_strength,
            "cfg_interval": list(self.cfg_interval),
            "rescale_t": self.rescale_t,
        }
        if self.learned_strength:
            params["learned_strength"] = self.learned_strength
        return {"name": SAMPLER, "args": {"sigma_min": self.sigma_min}, "params": params}


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A model: networks by role (a path in its folder, or `owner/repo/ckpts/name`), samplers, statistics, encoder.

    latent_statistics: (mean, std) of the structured latents, 8 values each; a sampled latent is `x * std + mean`.
    image_cond_model: a published name, or {"path": folder inside the model, "image_size": pixels}. texture_source: what
    textures take their colours from, one of TEXTURE_SOURCES.
    """

    models: Mapping[str, str]
    structure_sampler: SamplerConfig
    latent_sampler: SamplerConfig
    latent_statistics: tuple[tuple[float, ...], tuple[float, ...]]
    image_cond_model: str | dict[str, Any] | None = None
    text_cond_model: str | None = None
    name: str = PIPELINES[0]
    texture_source: str = TEXTURE_SOURCES[0]

    def __post_init__(self) -> None:
        if self.name not in PIPELINES:
            raise CheckpointError(f"Unknown pipeline {self.name!r}; known are {', '.join(PIPELINES)}.")
        if self.texture_source not in TEXTURE_SOURCES:
            raise CheckpointError(f"texture_source must be one of {', '.join(TEXTURE_SOURCES)}.")
        if not all(isinstance(path, str) for path in self.models.values()):
            raise CheckpointError("models must name a path for every network.")
        missing = [role for role in REQUIRED_ROLES if role not in self.models]
        if missing:
            raise CheckpointError(f"The pipeline has no {', '.join(missing)}.")
        unknown = [role for role in self.models if role not in REQUIRED_ROLES + OPTIONAL_ROLES]
        if unknown:
            raise CheckpointError(f"Unknown roles {', '.join(unknown)}; known: {', '.join(OPTIONAL_ROLES)}.")
        mean, std = self.latent_statistics
        if not 1 <= len(mean) == len(std) <= MOST_CHANNELS or min(std) <= 0 or not all(map(math.isfinite, mean + std)):
            raise CheckpointError(
                f"slat_normalization needs as many positive std values as mean values, at most {MOST_CHANNELS}."
            )
        if not isinstance(self.image_cond_model, (str, type(None))) and not _is_encoder(self.image_cond_model):
            raise CheckpointError('image_cond_model must be a name or {"path": ..., "image_size": ...}.')
        if not isinstance(self.text_cond_model, (str, type(None))):
            raise CheckpointError("text_cond_model must be a name.")
        if self.image_cond_model is None and self.text_cond_model is None:
            raise CheckpointError("The pipeline names neither image_cond_model nor text_cond_model.")

    @property
    def representations(self) -> tuple[str, ...]:
        """What an asset of the model can consist of: a decoder each."""
        return tuple(name for name, role in DECODERS.items() if role in self.models)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PipelineConfig":
        """Parse the content of pipeline.json; raises CheckpointError naming what is missing or wrong."""
        try:
            args = data["args"]
            statistics = args["slat_normalization"]
            return cls(
                name=data["name"],
                models=dict(args["models"]),
                structure_sampler=SamplerConfig.from_dict(args["sparse_structure_sampler"]),
                latent_sampler=SamplerConfig.from_dict(args["slat_sampler"]),
                latent_statistics=(tuple(statistics["mean"]), tuple(statistics["std"])),
                image_cond_model=args.get("image_cond_model"),
                text_cond_model=args.get("text_cond_model"),
                texture_source=args.get("texture_source", TEXTURE_SOURCES[0]),
            )
        except KeyError as error:
            raise CheckpointError(f"{PIPELINE_FILE} has no entry {error}.") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{PIPELINE_FILE} is not a pipeline: {error}.") from error

    @classmethod
    def read(cls, path: Path) -> "PipelineConfig":
        """Read a pipeline.json; raises CheckpointError naming the file."""
        return cls.from_dict(read_json(path))

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        mean, std = self.latent_statistics
        args: dict[str, Any] = {
            "models": dict(self.models),
            "sparse_structure_sampler": self.structure_sampler.to_dict(),
            "slat_sampler": self.latent_sampler.to_dict(),
            "slat_normalization": {"mean": list(mean), "std": list(std)},
        }
        for key in ("image_cond_model", "text_cond_model"):
            if getattr(self, key) is not None:
                args[key] = getattr(self, key)
        if self.texture_source != TEXTURE_SOURCES[0]:
            args["texture_source"] = self.texture_source
        return {"name": self.name, "args": args}

    def write(self, path: Path) -> None:
        """Write a pipeline.json in one step."""
        write_bytes(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode())


def _is_encoder(value: Any) -> bool:
    """Whether a value states an image encoder of the model's own."""
    if not isinstance(value, dict) or set(value) != {"path", "image_size"}:
        return False
    size = value["image_size"]
    return isinstance(value["path"], str) and isinstance(size, int) and 1 <= size <= LARGEST_PICTURE


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises CheckpointError naming the file."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointError(f"{path} is larger than any description of a network or a pipeline.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return data
