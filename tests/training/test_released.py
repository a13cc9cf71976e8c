"""The trainer on data folders: it learns, goes on after kill -9 to the same bits, and is one whatever the processes."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training import tiny_data, two_processes
from tests.training.forked import launched
from tests.training.tiny_data import latent_flow, structure_flow, structure_vae
from trellis.app.train_command import main
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models import load_model
from trellis.runtime import Runtime
from trellis.training.log import read_log
from trellis.training.run import RunOptions, train_released
from trellis.training.state import state_file, steps_saved
from trellis.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
RUNTIME = Runtime(device=torch.device("cpu"), offline=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_data(tmp_path_factory.mktemp("data"), range(7))


def train(values: dict[str, Any], folder: Path, data: Path, **options: Any) -> list[float]:
    """Train, and return the losses of all steps."""
    assert train_released(values, folder, [data], RUNTIME, RunOptions(**options))
    return losses(folder)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_log(folder).values()]


@pytest.mark.parametrize("kind", ["vae", "structure", "latent"])
def test_one_object_is_learned(kind: str, encoder: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny_data.make_data(tmp_path / "data", [0])
    changes = {"max_steps": 15, "i_save": 15, "batch_size": 2, "i_log": 1, "ema_rate": 0.9, "grad_clip": 1.0}
    changes["optimizer"] = {"name": "AdamW", "args": {"lr": 2e-2}}
    made = {"vae": structure_vae, "structure": structure_flow, "latent": latent_flow}[kind]
    values = made(**changes) if kind == "vae" else made(encoder, p_uncond=0.0, **changes)
    found = train(values, tmp_path / "run", folder)
    assert sum(found[-3:]) < 0.75 * sum(found[:3])
    for role, model in values["models"].items():
        exported = load_model(tmp_path / "run" / role)
        assert exported.config.to_args().items() <= model["args"].items()


@pytest.mark.parametrize("made", [structure_flow, latent_flow])
def test_guidance_is_learned_where_there_is_a_condition(
    made: Callable[..., dict[str, Any]], encoder: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    """The second loss is that of plain training where every condition is dropped, and another where none is."""
    for dropped in (0.0, 1.0):
        first = []
        for strength in (0.0, 3.0):
            changes = {"max_steps": 2, "i_log": 1, "p_uncond": dropped, "learned_strength": strength}
            first.append(train(made(encoder, **changes), tmp_path / f"{dropped}_{strength}", data)[1])
        assert (first[0] == first[1]) == (dropped == 1.0)


KILLED_AT = 5


def train_until_killed(words: Sequence[str]) -> int:
    """`CONFIGURATION FOLDER DATA THREADS`, up to KILLED_AT."""

    def kill(trainer: Trainer) -> None:
        at_step = trainer.stage.at_step
        trainer.stage.at_step = lambda step: (
            os.kill(os.getpid(), signal.SIGKILL) if step == KILLED_AT else at_step(step)
        )

    torch.set_num_threads(int(words[3]))
    train(json.loads(words[0]), Path(words[1]), Path(words[2]), ready=kill)
    return 0


def test_a_killed_run_goes_on_to_the_same_bits(data: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    changes = {"batch_split": 2, "grad_clip": {"name": "AdaptiveGradClipper", "args": {"buffer_size": 3}}}
    changes["lr_scheduler"] = {"name": "CosineAnnealingLR", "args": {"T_max": 9}}
    values = latent_flow(encoder, max_steps=8, **changes)
    expected = train(values, tmp_path / "whole", data)
    words = [json.dumps(values), str(tmp_path / "killed"), str(data), str(torch.get_num_threads())]
    assert launched(train_until_killed, words, tmp_path / "log.txt") == -signal.SIGKILL
    assert steps_saved(tmp_path / "killed")[-1] in (2, 4)  # the last was perhaps being written
    assert losses(tmp_path / "killed") == expected[:KILLED_AT]
    assert train(values, tmp_path / "killed", data) == expected
    assert len(set(expected)) == 8


def command_line(values: dict[str, Any], folder: Path, data: Path, *options: str) -> list[str]:
    config = folder.with_suffix(".json")
    config.write_text(json.dumps(values))
    words = ["--config", config, "--output_dir", folder, "--data_dir", data, "--device", "cpu", "--threads", "1"]
    return [*map(str, words), *options]


def test_two_processes_learn_as_one(data: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    values = latent_flow(encoder, max_steps=5, grad_clip=None, train_encoder=True)
    expected = train(values, tmp_path / "one", data)
    words, log = command_line(values, tmp_path / "two", data, "--num_gpus", "2"), tmp_path / "log.txt"
    assert launched(main, words, log) == 0, log.read_text()
    assert log.read_text().count("done after 5 steps") == 2  # each of them says so
    assert losses(tmp_path / "two") == pytest.approx(expected, rel=1e-3)
    ours, theirs = (load_model(tmp_path / name / "denoiser").state_dict() for name in ("one", "two"))
    assert all(torch.allclose(value, theirs[name], atol=2e-3) for name, value in ours.items())
    before = load_file(Path(encoder["path"]) / "model.safetensors")
    one, two = (load_file(tmp_path / name / "image_encoder" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], atol=1e-3) for name, value in one.items())
    assert max(float((value - before[name]).abs().max()) for name, value in one.items()) > 2.5e-3


def test_a_split_network_learns_as_a_whole_one_and_goes_on_as_one(
    data: Path, encoder: dict[str, Any], tmp_path: Path
) -> None:
    values = latent_flow(encoder, max_steps=4, grad_clip=None, train_encoder=True)
    expected = train(values, tmp_path / "one", data)
    config, folder = tmp_path / "config.json", tmp_path / "split"
    config.write_text(json.dumps(values))
    words, log = [*two_processes.LAUNCHER, *map(str, (config, folder, data))], tmp_path / "log.txt"
    assert launched(two_processes.main, words, log) == 0, log.read_text()
    assert losses(folder) == pytest.approx(expected, rel=1e-3)
    assert train(values, tmp_path / "whole", data, load_dir=folder, ckpt="2") == pytest.approx(expected[2:], rel=1e-3)


def test_a_process_that_dies_is_told(encoder: dict[str, Any], tmp_path: Path) -> None:
    data = tiny_data.make_data(tmp_path / "data", range(3))
    next((data / "latents" / tiny_data.LATENT_MODEL).glob("*.npz")).write_bytes(b"torn")
    values = latent_flow(encoder, batch_size=2)
    words = command_line(values, tmp_path / "run", data, "--num_gpus", "2", "--auto_retry", "0")
    command = [sys.executable, "train.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True)
    assert done.returncode == 1
    assert "remove it and run the step again" in done.stdout  # what the process said
    assert "so all were ended. The last saved state is whole" in done.stdout and "Traceback" not in done.stdout


def test_last_states_and_every_tenth_are_kept(data: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    train(structure_flow(encoder, max_steps=14, i_save=1), tmp_path, data)
    assert steps_saved(tmp_path) == [10, 12, 13, 14]
    names = {path.name for path in (tmp_path / "ckpts").iterdir() if "0000013" in path.name}
    assert names == {
        "denoiser_step0000013.pt", "denoiser_ema0.9_step0000013.pt", "denoiser_ema0.99_step0000013.pt",
        "misc_step0000013.pt",
    }  # fmt: skip
    train(structure_flow(encoder, max_steps=2, i_save=1), tmp_path, data, ckpt="none")
    assert steps_saved(tmp_path) == [10, 14, 1, 2]  # those begun anew are the last ones
    train(structure_flow(encoder, max_steps=3, i_save=1), tmp_path, data)
    assert steps_saved(tmp_path) == [10, 1, 2, 3]
    with pytest.raises(CheckpointError, match="10, 1, 2, 3"):
        train(structure_flow(encoder), tmp_path, data, ckpt="11")
    state_file(tmp_path, "denoiser", 3).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(structure_flow(encoder, max_steps=5), tmp_path, data)


def test_a_full_disk_is_a_sentence(data: Path, encoder: dict[str, Any], tmp_path: Path, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(structure_flow(encoder)))
    words = ["--config", path, "--output_dir", tmp_path / "run", "--data_dir", data, "--device", "cpu"]
    with caplog.at_level(logging.ERROR):
        assert main([str(word) for word in words]) == 1
    assert "disk of the results is full" in caplog.text and "Traceback" not in caplog.text


def test_what_cannot_be_trained_on_is_told(data: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    values = latent_flow(encoder)
    values["dataset"]["args"]["max_num_voxels"] = 3
    with pytest.raises(InvalidInputError, match="7 objects have more than 3 voxels"):
        train(values, tmp_path, data)
    values["dataset"]["args"] |= {"max_num_voxels": 1000, "latent_model": "other"}
    with pytest.raises(InvalidInputError, match=r"7 objects lack latent_other.*latent_tiny_slat"):
        train(values, tmp_path, data)
    with pytest.raises(InvalidInputError, match="has no objects"):
        train(values, tmp_path, tmp_path)
    values = structure_flow(encoder)
    values["models"]["denoiser"]["args"]["resolution"] = 4
    with pytest.raises(InvalidInputError, match="make them with the model that is trained"):
        train(values, tmp_path, data)
    with pytest.raises(InvalidInputError, match="say them in finetune_ckpt"):
        train(structure_flow(encoder, lora={"rank": 2}), tmp_path, data)
