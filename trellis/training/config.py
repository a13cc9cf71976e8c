"""Training configuration: one frozen dataclass a concern, read from JSON; unknown keys raise."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from trellis.errors import InvalidInputError, did_you_mean

StageName = Literal["structure_vae", "latent_vae", "structure_flow", "flows"]
Precision = Literal["float32", "bfloat16"]
STAGES: tuple[StageName, ...] = get_args(StageName)
_EXACT = ConfigDict(extra="forbid")
T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """One network: `name` is a published class (or "ImageEncoder"), `args` its arguments as in a checkpoint's JSON."""

    __pydantic_config__ = _EXACT

    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class DataConfig:
    """The pool of training objects held on the device.

    objects: size of the pool; chunk: objects made in one piece (the unit of refreshing); pictures: views an object;
    picture_size: pixels; resolution: latent grid side; families: those to choose from (empty: all);
    hold_out: families never trained on;
    detailed: objects of a chunk that also carry structured latents (0: all of them);
    refresh_every: steps between two chunk replacements (0: never); seed: start of the training seeds;
    held_out_objects: objects of the metrics printed while training;
    meshes: a data folder whose meshes take turns with the families, in the data of flows (empty: none).
    """

    __pydantic_config__ = _EXACT

    name: Literal["procedural"] = "procedural"
    objects: int = 1024
    chunk: int = 64
    pictures: int = 2
    picture_size: int = 128
    resolution: int = 32
    families: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    detailed: int = 0
    refresh_every: int = 0
    seed: int = 0
    held_out_objects: int = 64
    meshes: str = ""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its schedule.

    "adamw" trains everything with `learning_rate`, `betas` and `weight_decay`; "muon" leaves to it only what is not a
    matrix, and trains matrices with `matrix_rate`, `momentum` and `matrix_decay`.
    The learning rate rises over `warmup` steps, stays, and falls over the last `decay` share of the plan. The plan
    ends after `steps` steps or `seconds` seconds of training (0: no such limit), whichever comes first.
    `state_precision` is the type of the moments in a checkpoint; they are rounded to it whenever one is written.
    """

    __pydantic_config__ = _EXACT

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 4e-4
    matrix_rate: float = 0.02
    momentum: float = 0.95
    matrix_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 100
    decay: float = 0.4
    steps: int = 1000
    seconds: float = 0.0
    max_norm: float = 1.0
    ema: float = 0.999
    state_precision: Precision = "bfloat16"


@dataclass(frozen=True)
class TrainConfig:
    """One stage of training.

    batch_size: objects of a step, in each process; models: role -> network; loss: weights by name; options: numbers
    that only this stage knows; inputs: stage -> its folder, where that is not its name; init: role -> path stem of the
    weights to start from, or the folder that holds them, both relative to the folder of all stages; frozen: roles of
    `init` that keep their weights; export_seconds: time between two exports of the averages while training (0: only at
    the end).
    """

    __pydantic_config__ = _EXACT

    stage: StageName
    models: dict[str, ModelConfig]
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: dict[str, float] = field(default_factory=dict)
    options: dict[str, int | float] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    init: dict[str, str] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    batch_size: int = 32
    precision: Precision = "float32"
    compile: bool = False
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    save_every: int = 500
    export_seconds: float = 0.0


def read_json(path: Path) -> dict[str, Any]:
    """The object in a configuration file. Raises InvalidInputError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInputError(f"There is no training configuration {path}.") from error
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path} must hold a JSON object.")
    return values


def read_config(path: Path) -> TrainConfig:
    """Read and check a stage's JSON. Raises InvalidInputError, see `parse_config`."""
    return parse_config(read_json(path))


def parse_config(values: Mapping[str, Any]) -> TrainConfig:
    """A checked TrainConfig from plain values. Raises InvalidInputError naming the unknown key or value."""
    config = validated(TrainConfig, values)
    if config.data.objects % config.data.chunk:
        raise InvalidInputError("data.objects must be a multiple of data.chunk.")
    return config


def validated(kind: type[T], values: Any, *, within: str = "") -> T:
    """`values` as an object of `kind`; `within`: where they stand in the configuration.

    Raises InvalidInputError naming every key that is unknown, with the one that was meant, and every wrong value.
    """
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        schema = adapter.json_schema()
        parts = [schema, *schema.get("$defs", {}).values()]
        known = {name for part in parts for name in part.get("properties", {})}
        found = []
        for each in error.errors():
            place = within + ".".join(map(str, each["loc"]))
            unknown = each["type"] in ("extra_forbidden", "unexpected_keyword_argument")
            text = f"unknown key.{did_you_mean(str(each['loc'][-1]), known)}" if unknown else each["msg"]
            found.append(f"{place}: {text}")
        raise InvalidInputError(f"The training configuration cannot be used: {'; '.join(found)}") from error


def config_values(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain values, as `parse_config` reads them."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
