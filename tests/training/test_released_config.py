"""The published configurations are read as they are; what nobody knows is refused with what was meant."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.test_manifest import MANIFEST
from tests.training.tiny_data import structure_flow
from trellis.errors import InvalidInputError
from trellis.models import create_model
from trellis.training.released_config import parse_released
from trellis.training.settings import released_settings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RELEASED = sorted([*(CONFIGS / "vae").glob("*.json"), *(CONFIGS / "generation").glob("*.json")])
PUBLISHED_NAMES = {"ss_vae_conv3d_16l8_fp16": ("ss_enc_conv3d_16l8_fp16", "ss_dec_conv3d_16l8_fp16")}


def test_there_are_nine() -> None:
    assert len(RELEASED) == 9


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_networks_are_those_that_were_released(path: Path) -> None:
    config = parse_released(json.loads(path.read_text()))
    names = PUBLISHED_NAMES.get(path.stem, (path.stem,))
    for model, name in zip(config.models.values(), names, strict=True):
        with torch.device("meta"):
            network = create_model(model.name, model.args)
        assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
            key: shape for key, (_, shape) in MANIFEST[name]["state_dict"].items()
        }
    settings = released_settings(config, torch.device("cpu"), half=torch.float16)
    (optimizer,) = settings.optimizers([torch.nn.Parameter(torch.zeros(2))])
    assert isinstance(optimizer, torch.optim.AdamW) and optimizer.param_groups[0]["lr"] == 1e-4
    assert (settings.steps, settings.save_every, settings.ema) == (1_000_000, 10_000, (0.9999,))
    assert settings.scale is not None and settings.scale.exponent == 20


def changed(path: str, value: Any) -> dict[str, Any]:
    values = json.loads(json.dumps(structure_flow({"path": "x", "image_size": 32})))
    *parents, last = path.split(".")
    inner = values
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("dataset.args.latent_modell", "x", r"dataset\.args\.latent_modell: unknown key\. Did you mean latent_model\?"),
        ("trainer.args.p_uncnd", 0.1, "Did you mean p_uncond"),
        ("trainer.args.t_schedule", {"name": "logitNormal", "args": {"meen": 1}}, "Did you mean mean"),
        ("trainer.args.p_uncond", 3, "less than or equal to 1"),
        ("trainer.args.lambda_kl", 3, "lambda_kl: unknown key"),
        ("dataset.name", "ImageConditionedSlat", "Did you mean ImageConditionedSLat"),
        ("trainer.name", "SparseStructureVaeTrainer", "goes with the trainer ImageConditionedFlowMatchingCFGTrainer"),
        ("models", {}, r"needs the models \['denoiser'\]"),
        ("modells", {}, "Did you mean models"),
        ("trainer.args.finetune_ckpt", {"decoder": "x"}, "finetune_ckpt can name only denoiser"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        parse_released(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trainer.args.optimizer", {"name": "AdamV"}, "no optimizer AdamV. Did you mean Adam"),
        ("trainer.args.optimizer", {"name": "AdamW", "args": {"rl": 1}}, "does not take these arguments"),
        ("trainer.args.lr_scheduler", {"name": "CosineAnealingLR"}, "Did you mean CosineAnnealingLR"),
        ("trainer.args.lr_scheduler", {"name": "StepLR", "args": {"size": 1}}, "does not take these arguments"),
    ],
)
def test_what_torch_does_not_have_is_named(path: str, value: Any, words: str) -> None:
    settings = released_settings(parse_released(changed(path, value)), torch.device("cpu"), half=None)
    with pytest.raises(InvalidInputError, match=words):
        settings.rates(settings.optimizers([torch.nn.Parameter(torch.zeros(2))]))


def test_linear_warm_up() -> None:
    config = parse_released(
        changed("trainer.args.lr_scheduler", {"name": "LinearWarmupLRScheduler", "args": {"warmup_steps": 4}})
    )
    settings = released_settings(config, torch.device("cpu"), half=None)
    optimizers = settings.optimizers([torch.nn.Parameter(torch.zeros(2))])
    rates, seen = settings.rates(optimizers), []
    for step in range(6):
        rates.set(step, 0.0)
        seen.append(optimizers[0].param_groups[0]["lr"])
        optimizers[0].step()
    assert seen == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3])
