"""Fine-tuning: both flows of a model on data of one's own, and the model that comes out."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trellis.dataset.layout import LATENT, STRUCTURE, DataFolder
from trellis.dataset.prepare import encoding_model, model_columns
from trellis.dataset.records import read_metadata
from trellis.families.location import ModelLocation
from trellis.families.trellis_family import ENCODER_FOLDER, ENCODERS, ENDINGS, encoder_stem, network_stem
from trellis.models.pipeline_config import PIPELINE_FILE, PipelineConfig
from trellis.opening import open_model
from trellis.pipeline import TrellisPipeline
from trellis.runtime import Runtime
from trellis.training.config import read_json
from trellis.training.networks import IMAGE_ENCODER
from trellis.training.processes import Processes
from trellis.training.run import RunOptions, train_released
from trellis.training.start import SETTINGS_FILE
from trellis.training.trainer import BEST_FOLDER, write_json

FLOWS = {"structure_flow": "sparse_structure_flow_model", "latent_flow": "slat_flow_model"}  # folder: role
MODEL_FOLDER = "model"
# What suits fewer than 5,000 objects. Rate and batch are those of a width of 1024; small networks, which are trained in
# no time, take more of both (docs/journal/nano.md), and low-rank updates a higher rate.
_RATE, _WIDTH, _WARM_UP, _AVERAGE, _HELD_OUT, _BATCH = 2e-5, 1024, 500, 0.999, 0.05, 8
_SMALL_WIDTH, _SMALL_BATCH, _LORA_RATE = 512, 64, 3
_EPOCHS, _LEAST, _MOST, _SAVES = 40, 1000, 20_000, 10

logger = logging.getLogger(__name__)


def finetune(
    model: str,
    output: Path,
    roots: Sequence[Path],
    runtime: Runtime,
    options: RunOptions,
    processes: Processes,
    *,
    steps: int | None,
    lora_rank: int | None,
) -> bool:
    """Train the structure flow and then the latent flow of a model; `output/model` is the model that comes out.

    An image encoder of the model's own learns with the structure flow. steps: of each (None: by the number of objects);
    lora_rank: of updates that alone are trained (None: all weights).
    True when both are done. Raises InvalidInputError, CheckpointError.
    """
    opened = encoding_model(open_model(model, runtime=runtime))
    column = model_columns(opened)[STRUCTURE]
    objects = sum(row.get(column) == "True" for root in roots for row in read_metadata(DataFolder(root)).values())
    for name, role in FLOWS.items():
        encoder = _trained_encoder(output)
        values = flow_values(opened, role, objects, steps=steps, lora_rank=lora_rank, encoder=encoder)
        logger.info("%s of %s", role, opened.name)
        if not train_released(values, output / name, roots, runtime, options, processes):
            return False
    if processes.leads and not (options.tryrun or options.profile):
        write_model(opened, output)
        logger.info("the model is %s: generate --model %s", output / MODEL_FOLDER, output / MODEL_FOLDER)
    return True


def flow_values(
    model: TrellisPipeline,
    role: str,
    objects: int,
    *,
    steps: int | None,
    lora_rank: int | None,
    encoder: Path | None = None,
) -> dict[str, Any]:
    """The configuration, in the published form, that fine-tunes one flow of a model on so many objects.

    encoder: the image encoder that the structure flow was trained with, if it has changed.
    """
    assert model.location is not None
    config, stem = PipelineConfig.read(model.location.description), network_stem(model.location, role)
    network, columns = read_json(stem.with_name(f"{stem.name}{ENDINGS[0]}")), model_columns(model)
    width = network["args"]["model_channels"]
    rate = _RATE * (_WIDTH / width) ** 2 * (1 if lora_rank is None else _LORA_RATE)
    batch = max(1, min(_SMALL_BATCH if width <= _SMALL_WIDTH else _BATCH, objects))
    batch = 1 << (batch.bit_length() - 1)  # a power of two, so that several cards can share it
    steps = steps or min(_MOST, max(_LEAST, _EPOCHS * objects // batch))
    trainer: dict[str, Any] = {
        "max_steps": steps,
        "batch_size": batch,
        "optimizer": {"name": "AdamW", "args": {"lr": rate, "weight_decay": 0.0}},
        "lr_scheduler": {"name": "LinearWarmupLRScheduler", "args": {"warmup_steps": min(_WARM_UP, steps // 2)}},
        "ema_rate": _AVERAGE,
        "elastic": {"name": "LinearMemoryController"},
        "i_log": max(1, min(100, steps // _SAVES)),
        "i_save": max(1, steps // _SAVES),
        "i_sample": max(1, steps // _SAVES),
        "finetune_ckpt": {"denoiser": str(stem)},
        "lora": None if lora_rank is None else {"rank": lora_rank, "alpha": lora_rank},
        "held_out": _HELD_OUT,
    }
    if role == FLOWS["structure_flow"]:
        trainer["learned_strength"] = config.structure_sampler.learned_strength
        dataset, kind = "SparseStructureLatent", "FlowMatchingCFGTrainer"
        data: dict[str, Any] = {
            "latent_model": columns[STRUCTURE].removeprefix(STRUCTURE),
            "pretrained_ss_dec": str(network_stem(model.location, "sparse_structure_decoder")),
        }
    else:
        trainer["learned_strength"] = config.latent_sampler.learned_strength
        mean, std = config.latent_statistics
        dataset, kind = "SLat", "SparseFlowMatchingCFGTrainer"
        data = {
            "latent_model": columns[LATENT].removeprefix(LATENT),
            "normalization": {"mean": list(mean), "std": list(std)},
        }
        if "slat_decoder_gs" in config.models:
            data["pretrained_slat_dec"] = str(network_stem(model.location, "slat_decoder_gs"))
    condition, arguments, size = _condition(config, model.location)
    if isinstance(config.image_cond_model, dict):
        if role == FLOWS["structure_flow"]:
            arguments["train_encoder"] = lora_rank is None
        elif encoder is not None:
            arguments["image_cond_model"] = {**config.image_cond_model, "path": str(encoder.absolute())}
    return {
        "models": {"denoiser": network},
        "dataset": {"name": f"{condition}Conditioned{dataset}", "args": {"min_aesthetic_score": 0, **data, **size}},
        "trainer": {"name": f"{condition}Conditioned{kind}", "args": trainer | arguments},
    }


def _condition(config: PipelineConfig, location: ModelLocation) -> tuple[str, dict[str, Any], dict[str, int]]:
    """What a model is conditioned on: its name in those of datasets, the trainer's and the dataset's arguments."""
    image = config.image_cond_model
    if image is None:
        text = str(config.text_cond_model)
        own = location.folder / text
        return "Text", {"text_cond_model": str(own) if own.is_dir() else text}, {}
    if isinstance(image, str):
        return "Image", {"image_cond_model": image}, {}
    own_encoder = {**image, "path": str((location.folder / image["path"]).absolute())}
    return "Image", {"image_cond_model": own_encoder}, {"image_size": image["image_size"]}


def write_model(source: TrellisPipeline, output: Path) -> None:
    """Write the model folder: the source's networks, with the flows of the runs in `output`, those best on held-out
    objects where there are such."""
    location = source.location
    assert location is not None
    config, target = PipelineConfig.read(location.description), output / MODEL_FOLDER
    aside = output / f"{MODEL_FOLDER}.part"
    shutil.rmtree(aside, ignore_errors=True)
    trained = {role: _finished(output / name) for name, role in FLOWS.items()}
    stems = {role: trained.get(role) or network_stem(location, role) for role in config.models}
    for role, stem in stems.items():
        _copy_network(stem, aside / "ckpts" / role)
    for role in ENCODERS:
        if role not in config.models and encoder_stem(config, role, location.folder) is not None:
            _copy_network(network_stem(location, role), aside / ENCODER_FOLDER / role)
    encoder = _trained_encoder(output)
    for name in location.describe().folders:
        shutil.copytree(encoder or location.folder / name, aside / name)
    replace(config, models={role: f"ckpts/{role}" for role in config.models}).write(aside / PIPELINE_FILE)
    settings = {name: read_json(output / name / "config.json") for name in FLOWS}
    former = location.folder / SETTINGS_FILE
    write_json(aside / SETTINGS_FILE, (read_json(former) if former.is_file() else {}) | settings)
    shutil.rmtree(target, ignore_errors=True)
    aside.replace(target)


def _finished(run: Path) -> Path:
    best = run / BEST_FOLDER / "denoiser"
    return best if best.with_name(f"denoiser{ENDINGS[0]}").is_file() else run / "denoiser"


def _trained_encoder(output: Path) -> Path | None:
    """The image encoder that has learned with the structure flow."""
    folder = _finished(output / "structure_flow").with_name(IMAGE_ENCODER)
    return folder if folder.is_dir() else None


def _copy_network(stem: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        shutil.copyfile(stem.with_name(stem.name + ending), target.with_name(target.name + ending))
