"""The driver of a whole plan: every stage, the data between them, and a model at the end or when it is stopped."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.training.forked import ForkedTraining
from tests.training.tiny import tiny_config
from trellis.errors import InvalidInputError
from trellis.training.config import config_values
from trellis.training.data import training_families
from trellis.training.nano import CONFIG_FOLDER, LOG_FILE, MODEL_FOLDER, ROOT, Driver, main, read_plan

PLACES = {"latent_vae": "cpu:0", "data_0": "cpu", "structure_flow": "cpu", "flows": "cpu:0"}
STAGES = ("structure_vae", "latent_vae", "structure_flow", "flows")


def tiny_plan(folder: Path, *, steps: int, kept: Sequence[str] = ("structure_vae",)) -> Path:
    """A plan of the tiny stages in `folder`."""
    folder.mkdir()
    for stage in STAGES:
        config = dataclasses.replace(tiny_config(stage, steps=steps), export_seconds=1.0, save_every=1000)
        if "flow" in stage:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, refresh_every=0))
        (folder / f"{stage}.json").write_text(json.dumps(config_values(config)))
    plan = {
        "stages": {stage: f"{stage}.json" for stage in STAGES}, "kept": kept, "warm": ["structure_flow", "flows"],
        "structure_vae": 0.5, "latent_vae": 0.6, "data": 0.5, "processes": 1,
        "assemble_seconds": 3.0, "reserve_seconds": 1.0,
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder / "plan.json"


def command(plan: Path, folder: Path, *options: str) -> list[str]:
    return [
        "--plan", str(plan), "--output_dir", str(folder), "--device", "cpu", *options,
    ]  # fmt: skip


def run_forked(options: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The plan's exit status; a terminated run's processes are those of a user, these are started in less time."""
    monkeypatch.setattr("trellis.training.nano.subprocess.Popen", ForkedTraining)
    monkeypatch.setattr("trellis.training.nano._POLL", 0.1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return main(options)


@pytest.mark.slow
def test_whole_plan_makes_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, output = tiny_plan(tmp_path / "plan", steps=3), tmp_path / "run"
    options = command(plan, output, "--seconds", "500")
    status = run_forked(options, monkeypatch)
    log = (output / LOG_FILE).read_text()
    assert status == 0, log
    assert (output / MODEL_FOLDER / "pipeline.json").is_file()
    settings = json.loads((output / MODEL_FOLDER / "training.json").read_text())
    assert settings["flows"]["init"]["image_encoder"] == "structure_flow/image_encoder"
    assert settings["flows"]["data"]["families"] == training_families(tiny_config("flows").data)
    assert "data 0/1: chunk 1" in log and "structure_flow: done after 3 steps" in log and "flows: done" in log


@pytest.mark.slow
def test_with_a_second_device_the_structure_flow_goes_on_beside_the_latent_vae(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, output = tiny_plan(tmp_path / "plan", steps=3), tmp_path / "run"
    options = command(plan, output, "--seconds", "500", "--start-from", str(model), "--device", "cpu:0", "cpu")
    assert run_forked(options, monkeypatch) == 0
    log = (output / LOG_FILE).read_text()
    begun = {name: f"nano start {name} on {device}:" for name, device in PLACES.items()}
    assert all(line in log for line in begun.values()) and "start structure_vae" not in log
    assert log.index(begun["structure_flow"]) < log.index("nano latent_vae ended") < log.index(begun["flows"])
    init = json.loads((output / MODEL_FOLDER / "training.json").read_text())
    assert init["flows"]["init"]["sparse_structure_flow_model"] == "structure_flow/sparse_structure_flow_model"
    assert init["flows"]["init"]["slat_flow_model"] == "start" == init["structure_flow"]["init"]["image_encoder"]


@pytest.mark.slow
def test_a_terminated_run_of_the_flows_alone_leaves_a_model(model: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "plan", steps=3, kept=("structure_vae", "latent_vae"))
    output = tmp_path / "run"
    values = json.loads((plan.parent / "flows.json").read_text())
    values["optimizer"]["steps"] = 10**6
    (plan.parent / "flows.json").write_text(json.dumps(values))
    options = command(plan, output, "--seconds", "500", "--start-from", str(model))
    process = subprocess.Popen([sys.executable, "-m", "trellis.training.nano", *options], cwd=ROOT)
    until, log = time.monotonic() + 300, output / LOG_FILE
    while time.monotonic() < until and not (log.is_file() and "flows: step 20 " in log.read_text()):
        assert process.poll() is None
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 3
    assert (output / MODEL_FOLDER / "pipeline.json").is_file()
    text = log.read_text()
    begun = [line.split("nano start ")[1].split()[0] for line in text.splitlines() if "nano start " in line]
    assert begun == ["data_0", "flows"] and "flows: stopped after" in text
    settings = json.loads((output / MODEL_FOLDER / "training.json").read_text())
    assert set(settings["flows"]["init"].values()) == {"start"} and not settings["latent_vae"]["init"]
    same = {path.name: path.read_bytes() == (model / "ckpts" / path.name).read_bytes()
            for path in (output / MODEL_FOLDER / "ckpts").glob("*.safetensors")}  # fmt: skip
    assert {name for name, kept in same.items() if not kept} == {
        "sparse_structure_flow_model.safetensors", "slat_flow_model.safetensors"
    }  # fmt: skip


def test_on_one_device_an_adopted_structure_flow_waits_for_the_latent_vae(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def end_at_once(driver: Driver, name: str, config: Path, *options: str, device: str) -> None:
        begun.append(name)
        driver._running[name] = subprocess.Popen([sys.executable, "-S", "-c", ""])

    monkeypatch.setattr(Driver, "_launch", end_at_once)
    monkeypatch.setattr("trellis.training.nano.finished_chunks", lambda config, folder: 2)
    plan, output = tiny_plan(tmp_path / "plan", steps=3), tmp_path / "run"
    assert main(command(plan, output, "--seconds", "500", "--start-from", str(model))) == 0
    assert begun == ["latent_vae", "data_0", "flows"]
    init = json.loads((output / CONFIG_FOLDER / "flows.json").read_text())["init"]
    assert set(init.values()) == {"start"}


def test_two_cards_make_data_and_train_the_flows_together(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, str, bool]] = []

    def end_at_once(driver: Driver, name: str, config: Path, *options: str, device: str) -> None:
        begun.append((name, device, "--num_gpus 2" in " ".join(options)))
        driver._running[name] = subprocess.Popen([sys.executable, "-S", "-c", ""])

    monkeypatch.setattr(Driver, "_launch", end_at_once)
    monkeypatch.setattr("trellis.training.nano.finished_chunks", lambda config, folder: 2)
    plan = tiny_plan(tmp_path / "plan", steps=3, kept=("structure_vae", "latent_vae"))
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"processes": 2}))
    options = ["--plan", str(plan), "--output_dir", str(tmp_path / "run"), "--seconds", "500"]
    assert main([*options, "--start-from", str(model), "--device", "cuda:0", "cuda:1"]) == 0
    assert begun == [("data_0", "cuda:0", False), ("data_1", "cuda:1", False), ("flows", "cuda", True)]


def test_a_plan_without_time_for_a_vae_asks_for_a_model(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "plan", steps=1)
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"latent_vae": 0.0}))
    assert main(command(plan, tmp_path / "run", "--seconds", "10")) == 1
    log = (tmp_path / "run" / LOG_FILE).read_text()
    assert "does not train latent_vae" in log and "--start-from" in log


def test_plans_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(InvalidInputError, match="not a plan"):
        read_plan(path)
    path.write_text(json.dumps({"stages": {}, "speed": 2}))
    with pytest.raises(InvalidInputError, match="speed"):
        read_plan(path)
    tiny_plan(tmp_path / "plan", steps=1)
    values = json.loads((tmp_path / "plan" / "plan.json").read_text())
    for wrong in ({"warm": ["flow"]}, {"kept": ["flows"]}):
        path.write_text(json.dumps(values | wrong))
        with pytest.raises(InvalidInputError, match="flow"):
            read_plan(path)
    path.write_text(json.dumps({"stages": {}, "speed": 2}))
    assert main(command(path, tmp_path / "run", "--seconds", "10")) == 1
