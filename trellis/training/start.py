"""Training that starts from the weights of an assembled model: they are copied into the folder of all stages."""

import filecmp
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trellis.errors import CheckpointError
from trellis.models import PipelineConfig
from trellis.training.config import TrainConfig
from trellis.training.networks import IMAGE_ENCODER
from trellis.training.trainer import write_json

START_FOLDER = "start"  # below the folder of all stages; holds every network by its role
NORMALIZATION_FILE = "slat_normalization.json"  # mean and standard deviation of the latents, beside a latent VAE
SETTINGS_FILE = "training.json"  # how a model was trained; evaluation reads the families left out from it


def adopt_model(model: Path, runs: Path) -> None:
    """Copy the networks of `model`, its latents' statistics and settings to `runs/start`; nothing if they are there.

    Raises CheckpointError for a folder that is not a model assembled here, encoders included, and where `runs` has
    started from another one.
    """
    target, aside = runs / START_FOLDER, runs / f"{START_FOLDER}.part"
    needed = ("pipeline.json", SETTINGS_FILE, "ckpts", "encoders", IMAGE_ENCODER)
    missing = [name for name in needed if not (model / name).exists()]
    if missing:
        raise CheckpointError(f"{model} lacks {', '.join(missing)}: training starts from a model assembled here.")
    shutil.rmtree(aside, ignore_errors=True)
    for folder in ("ckpts", "encoders"):
        shutil.copytree(model / folder, aside, dirs_exist_ok=True)
    shutil.copytree(model / IMAGE_ENCODER, aside / IMAGE_ENCODER)
    shutil.copyfile(model / SETTINGS_FILE, aside / SETTINGS_FILE)
    mean, std = PipelineConfig.read(model / "pipeline.json").latent_statistics
    write_json(aside / NORMALIZATION_FILE, {"mean": list(mean), "std": list(std)})
    if not target.is_dir():
        aside.replace(target)
        return
    _, different, unreadable = filecmp.cmpfiles(aside, target, sorted(_files(aside)), shallow=False)
    shutil.rmtree(aside)
    if different or unreadable:
        raise CheckpointError(f"{target} holds other weights than {model}: choose another output folder, or delete it.")


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def started(config: TrainConfig, *, fresh: bool = False, kept: Sequence[str] = ("structure_vae",)) -> TrainConfig:
    """The stage with all its networks from the adopted model (`fresh`: from nothing), on that model's `kept` stages."""
    init = {} if fresh else dict.fromkeys(config.models, START_FOLDER)
    return replace(config, init=init, inputs=dict.fromkeys(kept, START_FOLDER) | config.inputs)


def finished(runs: Path, stage: str, name: str) -> Path:
    """Where `name` (a role or a file) of a stage lies: in its own folder, else in that of the adopted model."""
    own, adopted = runs / stage / name, runs / START_FOLDER / name
    exists = [path.exists() or path.with_name(f"{name}.json").exists() for path in (own, adopted)]
    return adopted if exists == [False, True] else own


def adopted_settings(runs: Path) -> dict[str, object]:
    """The configuration of every stage of the adopted model, empty without one."""
    path = runs / START_FOLDER / SETTINGS_FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
