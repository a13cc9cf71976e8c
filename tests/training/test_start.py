"""Training goes on from the weights of an assembled model: all of a stage, or decoders alone on latents that stay."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.tiny import CONFIGS, tiny_config, tiny_trainer
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models import PipelineConfig, load_model
from trellis.training.assemble import assemble
from trellis.training.config import STAGES, TrainConfig, read_config
from trellis.training.start import START_FOLDER, adopt_model, started


def decoders_config() -> TrainConfig:
    """configs/nano/decoders.json with the networks, data and steps of the tiny latent VAE."""
    values, tiny = read_config(CONFIGS / "decoders.json"), tiny_config("latent_vae")
    return replace(
        tiny, models={role: tiny.models[role] for role in values.models}, loss=values.loss, frozen=values.frozen
    )


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def test_every_stage_starts_from_a_model(model: Path, tmp_path: Path) -> None:
    adopt_model(model, tmp_path)
    for stage in ("latent_vae", "structure_flow", "flows"):
        if stage == "flows":
            shutil.copytree(tmp_path / START_FOLDER, tmp_path / "latent_vae")
        run = tiny_trainer(started(tiny_config(stage)), tmp_path)
        for role, network in run.stage.modules.items():
            if role in ("image_encoder", "slat_encoder", "slat_decoder_rf"):
                continue  # other names in the file; colours and densities are trained in another unit
            folder = next(folder for folder in ("ckpts", "encoders") if (model / folder / f"{role}.json").is_file())
            assert same(load_model(model / folder / role).float(), network), role


def test_colors_and_densities_keep_their_meaning(model: Path, tmp_path: Path) -> None:
    adopt_model(model, tmp_path)
    run = tiny_trainer(started(tiny_config("latent_vae")), tmp_path)
    run.stage.at_step(0)
    run.stage.export(tmp_path / "again")
    for role in ("slat_encoder", "slat_decoder_rf"):
        old, new = (load_model(folder / role).float() for folder in (tmp_path / START_FOLDER, tmp_path / "again"))
        theirs = new.state_dict()
        assert all(torch.allclose(value, theirs[key], rtol=1e-5) for key, value in old.state_dict().items()), role


def test_decoders_are_trained_on_frozen_latents(model: Path, tmp_path: Path) -> None:
    adopt_model(model, tmp_path)
    config = started(decoders_config())
    run = tiny_trainer(config, tmp_path)
    before = {role: [value.clone() for value in net.state_dict().values()] for role, net in run.stage.modules.items()}
    assert run.run()
    for role, net in run.stage.modules.items():
        unchanged = all(torch.equal(a, b) for a, b in zip(before[role], net.state_dict().values()))
        assert unchanged == (role == "slat_encoder"), role
    exported = {path.stem for path in (tmp_path / "latent_vae").glob("slat_*.json")}
    assert exported == set(config.models) - {"slat_encoder"}
    assemble(tmp_path, tmp_path / "model")
    old, new = (PipelineConfig.read(folder / "pipeline.json") for folder in (model, tmp_path / "model"))
    assert new.latent_statistics == old.latent_statistics
    settings = json.loads((tmp_path / "model" / "training.json").read_text())
    assert set(settings) == set(STAGES) and settings["latent_vae"]["frozen"] == ["slat_encoder"]
    for path in sorted(model.rglob("*.safetensors")):
        changed = (tmp_path / "model" / path.relative_to(model)).read_bytes() != path.read_bytes()
        assert changed == (path.stem in exported), path.name


def test_changed_latents_need_new_flows(model: Path, tmp_path: Path) -> None:
    adopt_model(model, tmp_path)
    assert tiny_trainer(started(tiny_config("latent_vae", steps=1)), tmp_path).run()
    with pytest.raises(CheckpointError, match="latents have changed"):
        assemble(tmp_path, tmp_path / "model")
    assert tiny_trainer(started(tiny_config("flows", steps=1)), tmp_path).run()
    assemble(tmp_path, tmp_path / "model")


def test_a_folder_starts_from_one_model(model: Path, tmp_path: Path) -> None:
    adopt_model(model, tmp_path)
    adopt_model(model, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    weights = other / "ckpts" / "slat_decoder_gs.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="other weights"):
        adopt_model(other, tmp_path)
    shutil.rmtree(other / "encoders")
    with pytest.raises(CheckpointError, match="lacks encoders"):
        adopt_model(other, tmp_path / "new")


def test_what_is_frozen_must_have_weights_that_mean_the_same(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="untrained"):
        tiny_trainer(decoders_config(), tmp_path)
    adopt_model(model, tmp_path)
    path = tmp_path / START_FOLDER / "slat_decoder_gs.json"
    path.write_text(path.read_text().replace('"_rotation": 1.0', '"_rotation": 0.1'))
    with pytest.raises(CheckpointError, match="representation_config"):
        tiny_trainer(started(decoders_config()), tmp_path)
