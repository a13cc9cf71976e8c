"""A run that is interrupted and resumed ends with the same bits as one that is not."""

import json
import time
from pathlib import Path

import pytest
import torch

from tests.training.tiny import CONFIGS, CPU, Interrupt, tiny_config, tiny_trainer, weights
from trellis.errors import CheckpointError, InvalidInputError
from trellis.training.config import STAGES, TrainConfig, parse_config, read_config
from trellis.training.ema import ema_decay
from trellis.training.nano import read_plan
from trellis.training.schedule import learning_rate
from trellis.training.settings import stage_settings
from trellis.training.stages import create_stage
from trellis.training.stages.flow_data import source_chunks, source_folder


def tiny(state: str = "float32", steps: int = 6) -> TrainConfig:
    values = json.loads((CONFIGS / "structure_vae.json").read_text())
    values["data"].update(objects=4, chunk=2, held_out_objects=2, refresh_every=2)
    values["optimizer"].update(steps=steps, seconds=0, warmup=2, state_precision=state)
    values.update(batch_size=2, precision="float32", compile=False, log_every=2, evaluate_every=0, save_every=2)
    values["models"]["sparse_structure_encoder"]["args"]["channels"] = [4, 8, 8]
    values["models"]["sparse_structure_decoder"]["args"]["channels"] = [8, 8, 4]
    return parse_config(values)


def test_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path: Path) -> None:
    config = tiny("bfloat16")
    whole = tiny_trainer(config, tmp_path / "whole")
    assert whole.run()
    first = tiny_trainer(config, tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        first.run(progress=Interrupt(4))  # type: ignore[arg-type]
    second = tiny_trainer(config, tmp_path / "parts")
    second.resume()
    assert second.position.step == 4
    assert second.run()
    expected, found = weights(whole), weights(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    fresh = weights(tiny_trainer(config, tmp_path / "fresh"))
    assert any(not torch.equal(value, fresh[key]) for key, value in expected.items())


def test_time_limit_saves_and_float32_state_goes_on_bitwise(tmp_path: Path) -> None:
    config = tiny("float32", steps=3)
    whole = tiny_trainer(config, tmp_path / "whole")
    whole.run()
    part = tiny_trainer(config, tmp_path / "part")
    part.stage.at_step(0)
    part._step()
    part.position.step = 1
    assert not part.run(deadline=time.monotonic() - 1)
    resumed = tiny_trainer(config, tmp_path / "part")
    resumed.resume()
    assert resumed.position.step == 1
    assert resumed.run()
    expected, found = weights(whole), weights(resumed)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_cached_data_equals_made_data(tmp_path: Path) -> None:
    config = tiny()
    made = create_stage(config, tmp_path, device=CPU)
    made.at_step(2)
    for _ in range(2):  # written, then read
        kept = create_stage(config, tmp_path, device=CPU, cache=tmp_path / "cache")
        kept.at_step(2)
        numbers = torch.arange(4)
        assert torch.equal(kept.pool.objects("occupancy", numbers), made.pool.objects("occupancy", numbers))
    made.at_step(0)
    kept.at_step(2)
    assert not torch.equal(kept.pool.objects("occupancy", numbers), made.pool.objects("occupancy", numbers))


def test_occupancy_is_kept_as_bits(tmp_path: Path) -> None:
    config = tiny_config("structure_flow")
    made = source_chunks(config, None, device=CPU)(0)
    for _ in range(2):  # written, then read
        kept = source_chunks(config, tmp_path, device=CPU)(0)
        assert kept.keys() == made.keys()
        assert all(torch.equal(kept[key], value) for key, value in made.items())
    [path] = tmp_path.rglob("*.pt")
    stored = torch.load(path, weights_only=True)
    assert stored["dense.bits"].shape[-1] == 1 and made["dense"].shape[-1] == 8 and made["dense"].any()
    assert source_chunks(config, tmp_path, device=CPU, keys=("dense",))(0).keys() == {"dense"}


def test_resume_refuses_other_settings(tmp_path: Path) -> None:
    config = tiny(steps=1)
    run = tiny_trainer(config, tmp_path)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run.resume()
    run.run()
    values = json.loads((tmp_path / "structure_vae" / "config.json").read_text())
    values["batch_size"] = 3
    with pytest.raises(CheckpointError, match="batch_size"):
        tiny_trainer(parse_config(values), tmp_path).resume()


def test_configurations_are_strict() -> None:
    plans = set(CONFIGS.rglob("plan*.json"))
    for path in set(CONFIGS.rglob("*.json")) - plans:
        assert read_config(path).stage == ("latent_vae" if path.stem in ("decoders", "discs") else path.stem)
    assert len(plans) == 3
    for folder in (CONFIGS, CONFIGS / "smoke"):
        flows = [read_config(folder / f"{stage}.json") for stage in ("structure_flow", "flows")]
        assert len({source_folder(config, Path()) for config in flows}) == 1, "they share their data"
    for path in plans:
        assert set(read_plan(path).stages) == set(STAGES)
    values = json.loads((CONFIGS / "flows.json").read_text())
    with pytest.raises(InvalidInputError, match="learning_rat"):
        parse_config(values | {"optimizer": {"learning_rat": 1}})
    with pytest.raises(InvalidInputError, match="structure_vae"):
        parse_config(values | {"stage": "unknown"})


def test_schedule() -> None:
    optimizer = {"steps": 100, "seconds": 10.0, "warmup": 10}
    stage = parse_config({"stage": "flows", "models": {}, "optimizer": optimizer})
    config, plan = stage.optimizer, stage_settings(stage, CPU)
    assert plan.fraction(50, 1.0) == 0.5
    assert plan.fraction(10, 9.0) == 0.9
    assert learning_rate(config, 0, 0.0) == pytest.approx(config.learning_rate / 10)
    assert learning_rate(config, 50, 0.5) == config.learning_rate
    assert learning_rate(config, 99, 1.0) == pytest.approx(config.learning_rate * 0.01)
    assert ema_decay(config.ema, 0) == pytest.approx(0.1) and ema_decay(config.ema, 10**6) == config.ema
