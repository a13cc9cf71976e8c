"""Configurations in the published form, {"models", "dataset", "trainer"}: every key declared once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trellis.errors import InvalidInputError, did_you_mean
from trellis.training.config import validated


class Keys(BaseModel):
    """A part of a configuration: other keys than these are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Keys):
    """What is chosen by name, with its arguments."""

    name: str
    args: dict[str, Any] = {}


class DataArgs(Keys):
    """Of every dataset; an object without a score passes."""

    min_aesthetic_score: float = 4.5


class VoxelArgs(DataArgs):
    """Voxels alone, for the structure VAE."""

    resolution: int = 64


class StructureLatentArgs(DataArgs):
    """Latents of the structure VAE. With its decoder, a released one or that of a run's folder, samples are drawn."""

    latent_model: str
    pretrained_ss_dec: str | None = None
    ss_dec_path: str | None = None
    ss_dec_ckpt: str | None = None


class LatentStatistics(Keys):
    """Of each channel of structured latents."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class LatentArgs(DataArgs):
    """Structured latents; `normalization` of None is the stats.json beside them."""

    latent_model: str
    normalization: LatentStatistics | None = None
    max_num_voxels: int = 32768
    pretrained_slat_dec: str | None = None
    slat_dec_path: str | None = None
    slat_dec_ckpt: str | None = None


class PictureArgs(Keys):
    """Condition pictures; `condition_views`: how many of them are seen at once."""

    image_size: int = Field(518, ge=14)
    condition_views: int = Field(1, ge=1)


class ImageStructureLatentArgs(StructureLatentArgs, PictureArgs):
    """ImageConditionedSparseStructureLatent."""


class ImageLatentArgs(LatentArgs, PictureArgs):
    """ImageConditionedSLat."""


class ClipArgs(Keys):
    """See `AdaptiveGradClipper`."""

    max_norm: float = 1.0
    clip_percentile: float = 95.0
    buffer_size: int = 1000


class AdaptiveClip(Keys):
    """Gradients are clipped at a percentile of earlier norms."""

    name: Literal["AdaptiveGradClipper"] = "AdaptiveGradClipper"
    args: ClipArgs = ClipArgs()


class MemoryArgs(Keys):
    """Shares of the device's memory: what a step should fill, and what the first ones may."""

    target_ratio: float = 0.75
    max_mem_ratio_start: float = 0.5


class Elastic(Keys):
    """Blocks are computed again in the backward pass, as many as the memory asks for."""

    name: Literal["LinearMemoryController"] = "LinearMemoryController"
    args: MemoryArgs = MemoryArgs()


class TimeArgs(Keys):
    """Of the normal whose sigmoid times are drawn from."""

    mean: float = 1.0
    std: float = 1.0


class Times(Keys):
    """How times of a flow are drawn."""

    name: Literal["uniform", "logitNormal"] = "logitNormal"
    args: TimeArgs = TimeArgs()


class Lora(Keys):
    """Low-rank updates of attention and MLP, instead of all weights."""

    rank: int = Field(16, ge=1)
    alpha: float = 16.0


class TrainerArgs(Keys):
    """Of every trainer. `batch_size` is that of all processes together; it goes before `batch_size_per_gpu`.

    `i_*` are steps between two of what they name; `i_print`, `i_ddpcheck` and `log_param_stats` are read, and change
    nothing. Not published: `lora`; `held_out`, the share of objects that is kept
    for measuring; `seed`.
    """

    max_steps: int = Field(1_000_000, ge=1)
    batch_size: int | None = Field(None, ge=1)
    batch_size_per_gpu: int = Field(4, ge=1)
    batch_split: int = Field(1, ge=1)
    optimizer: Part = Part(name="AdamW", args={"lr": 1e-4, "weight_decay": 0.0})
    lr_scheduler: Part | None = None
    ema_rate: float | tuple[float, ...] = Field((0.9999,), validate_default=True)
    fp16_mode: Literal["inflat_all", "amp"] | None = "inflat_all"
    fp16_scale_growth: float = 1e-3
    grad_clip: float | AdaptiveClip | None = AdaptiveClip()
    elastic: Elastic | None = None
    i_print: int = Field(1000, ge=1)
    i_log: int = Field(500, ge=1)
    i_sample: int = Field(10_000, ge=1)
    i_save: int = Field(10_000, ge=1)
    i_ddpcheck: int = Field(10_000, ge=1)
    finetune_ckpt: dict[str, str] | None = None
    log_param_stats: bool = False
    prefetch_data: bool = True
    lora: Lora | None = None
    held_out: float = Field(0.0, ge=0, lt=1)
    seed: int = 0


class StructureVaeArgs(TrainerArgs):
    """SparseStructureVaeTrainer."""

    loss_type: Literal["dice", "bce", "l1"] = "dice"
    lambda_kl: float = 1e-3


class FlowArgs(TrainerArgs):
    """Of every flow. learned_strength (not published): of guidance that the flow learns to have by itself."""

    t_schedule: Times = Times()
    sigma_min: float = 1e-5
    p_uncond: float = Field(0.1, ge=0, le=1)
    learned_strength: float = Field(0.0, ge=0)


class ImageFlowArgs(FlowArgs):
    """image_cond_model: a published name, or {"path", "image_size"} of a folder; train_encoder (not published): that
    encoder learns along."""

    image_cond_model: str | dict[str, Any] = "dinov2_vitl14_reg"
    train_encoder: bool = False


class TextFlowArgs(FlowArgs):
    """text_cond_model: a repository or folder."""

    text_cond_model: str = "openai/clip-vit-large-patch14"


@dataclass(frozen=True)
class Kind:
    """What is trained on a dataset: by which trainer, and what a pipeline calls each network."""

    data: type[DataArgs]
    trainer: str
    args: type[TrainerArgs]
    roles: Mapping[str, str]


_VAE = {"encoder": "sparse_structure_encoder", "decoder": "sparse_structure_decoder"}
_STRUCTURE, _LATENT = {"denoiser": "sparse_structure_flow_model"}, {"denoiser": "slat_flow_model"}
KINDS = {
    "SparseStructure": Kind(VoxelArgs, "SparseStructureVaeTrainer", StructureVaeArgs, _VAE),
    "ImageConditionedSparseStructureLatent": Kind(
        ImageStructureLatentArgs, "ImageConditionedFlowMatchingCFGTrainer", ImageFlowArgs, _STRUCTURE
    ),
    "TextConditionedSparseStructureLatent": Kind(
        StructureLatentArgs, "TextConditionedFlowMatchingCFGTrainer", TextFlowArgs, _STRUCTURE
    ),
    "ImageConditionedSLat": Kind(
        ImageLatentArgs, "ImageConditionedSparseFlowMatchingCFGTrainer", ImageFlowArgs, _LATENT
    ),
    "TextConditionedSLat": Kind(LatentArgs, "TextConditionedSparseFlowMatchingCFGTrainer", TextFlowArgs, _LATENT),
}


class _Published(Keys):
    models: dict[str, Part]
    dataset: Part
    trainer: Part


@dataclass(frozen=True)
class ReleasedConfig:
    """A checked configuration; `values` is what was read."""

    models: Mapping[str, Part]
    kind: Kind
    data: Any  # of the class `kind.data`
    trainer: Any  # of the class `kind.args`
    values: Mapping[str, Any]


def parse_released(values: Mapping[str, Any]) -> ReleasedConfig:
    """Check a configuration of the published form. Raises InvalidInputError naming the key or value that is wrong."""
    parts = validated(_Published, values)
    name = parts.dataset.name
    if name not in KINDS:
        raise InvalidInputError(
            f"The dataset {name} is not known; choose one of {', '.join(KINDS)}.{did_you_mean(name, KINDS)}"
        )
    kind = KINDS[name]
    if parts.trainer.name != kind.trainer:
        raise InvalidInputError(f"The dataset {name} goes with the trainer {kind.trainer}, not {parts.trainer.name}.")
    if set(parts.models) != set(kind.roles):
        raise InvalidInputError(f"{kind.trainer} needs the models {sorted(kind.roles)}, not {sorted(parts.models)}.")
    data = validated(kind.data, parts.dataset.args, within="dataset.args.")
    trainer = validated(kind.args, parts.trainer.args, within="trainer.args.")
    if trainer.finetune_ckpt and not set(trainer.finetune_ckpt) <= set(parts.models):
        raise InvalidInputError(f"finetune_ckpt can name only {', '.join(parts.models)}.")
    return ReleasedConfig(parts.models, kind, data, trainer, values)
