"""Arguments of the published network classes, checked."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self

from trellis.errors import InvalidInputError

LARGEST = 1 << 16  # of every number; those of the published networks stay below 5000
MOST_LEVELS = 64  # of every list


def choose(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise InvalidInputError unless `value` is one of the closed set `allowed`."""
    if value not in allowed:
        raise InvalidInputError(f"{name} = {value!r} is not supported; choose one of {', '.join(map(repr, allowed))}.")


def check_sizes(name: str, value: Any) -> None:
    """Raise InvalidInputError for a number in an argument, or in what it holds, that no network of this family has."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_sizes(f"{name}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        if len(value) > MOST_LEVELS:
            raise InvalidInputError(f"{name} has {len(value)} entries; at most {MOST_LEVELS} are supported.")
        for index, inner in enumerate(value):
            check_sizes(f"{name}[{index}]", inner)
    elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise InvalidInputError(f"{name} = {value!r:.40} is no size of a network; at most {LARGEST} is supported.")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every network has: `use_fp16` stores the torso in float16, `use_checkpoint` saves memory in training."""

    use_fp16: bool = False
    use_checkpoint: bool = False

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Self:
        """Parse the `args` of a checkpoint; an unknown or missing key and an absurd size raise InvalidInputError."""
        known = {f.name: f for f in fields(cls)}
        unknown = sorted(set(args) - set(known))
        if unknown:
            raise InvalidInputError(
                f"{cls.__name__}: unknown argument {', '.join(unknown)}; known: {', '.join(sorted(known))}."
            )
        missing = [name for name, f in known.items() if _is_required(f) and name not in args]
        if missing:
            raise InvalidInputError(f"{cls.__name__}: missing argument {', '.join(missing)}.")
        for name, value in args.items():
            check_sizes(name, value)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in args.items()}
        return cls(**values)

    def to_args(self) -> dict[str, Any]:
        """The published form: every required argument and every one that differs from its default."""
        args = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if _is_required(f) or value != _default(f):
                args[f.name] = list(value) if isinstance(value, tuple) else value
        return args


def _is_required(f: "Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _default(f: "Field[Any]") -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """Sizes of a transformer; heads are given by `num_heads` or by `num_head_channels`."""

    resolution: int
    model_channels: int
    num_blocks: int
    num_heads: int | None = None
    num_head_channels: int | None = None
    mlp_ratio: float = 4
    pe_mode: str = "ape"
    qk_rms_norm: bool = False

    def __post_init__(self) -> None:
        choose("pe_mode", self.pe_mode, ("ape",))
        if not self.num_heads and not self.num_head_channels:
            raise InvalidInputError("Give num_heads or num_head_channels.")
        if self.model_channels % self.heads:
            raise InvalidInputError(f"model_channels {self.model_channels} is not a multiple of {self.heads} heads.")

    @property
    def heads(self) -> int:
        return self.num_heads or self.model_channels // (self.num_head_channels or 64)


@dataclass(frozen=True, kw_only=True)
class FlowConfig(TransformerConfig):
    """A flow model conditioned on time and on tokens of width `cond_channels`."""

    in_channels: int
    out_channels: int
    cond_channels: int
    patch_size: int = 2
    qk_rms_norm_cross: bool = False
    share_mod: bool = False


@dataclass(frozen=True, kw_only=True)
class LatentTransformerConfig(TransformerConfig):
    """A transformer of the latent VAE."""

    latent_channels: int
    attn_mode: str = "swin"
    window_size: int | None = 8
    representation_config: Mapping[str, Any] = field(default_factory=dict)
