"""A model fine-tuned on data of one's own: the folder that comes out opens, and only its flows have changed."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from tests.training import tiny_data
from tests.training.tiny_data import LATENT_FLOW, STRUCTURE_FLOW
from trellis.app.train_command import main
from trellis.dataset.layout import LATENT, STRUCTURE
from trellis.dataset.prepare import encoding_model, model_columns
from trellis.errors import CheckpointError
from trellis.families.trellis_family import NANO_FOLDER
from trellis.models import create_model, load_model
from trellis.opening import open_model
from trellis.pipeline import TrellisPipeline
from trellis.runtime import Runtime
from trellis.training.finetune import FLOWS, flow_values
from trellis.training.log import read_log
from trellis.training.samples import draw_structures
from trellis.training.stages.released import ReleasedFlow
from trellis.training.start_weights import load_start

HELD_OUT = 39  # an object whose sha is among the lowest 5 %
RUNTIME = Runtime(device=torch.device("cpu"), offline=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened = open_model(model, runtime=RUNTIME)
    assert isinstance(opened, TrellisPipeline)
    columns = model_columns(opened)
    return tiny_data.make_data(
        tmp_path_factory.mktemp("data"), [*range(6), HELD_OUT], latent=columns[LATENT].removeprefix(LATENT),
        structure=columns[STRUCTURE].removeprefix(STRUCTURE),
    )  # fmt: skip


def line(model: Path, data: Path, output: Path, *options: str) -> list[str]:
    words = ["--finetune", model, "--data_dir", data, "--output_dir", output, "--device", "cpu", *options]
    return [str(word) for word in words]


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_latents_are_known_by_the_weights_that_made_them(model: Path, tmp_path: Path) -> None:
    """However the model is named, copied or fine-tuned; a folder of the same name with other weights has others."""
    copied = shutil.copytree(NANO_FOLDER, tmp_path / model.name)
    names = [model_columns(encoding_model(open_model(name, runtime=RUNTIME))) for name in ("nano", copied, model)]
    assert names[0] == names[1] and set(names[0].values()).isdisjoint({names[2][LATENT], names[2][STRUCTURE]})


def test_small_networks_learn_from_large_batches_at_a_high_rate() -> None:
    nano = encoding_model(open_model("nano", runtime=RUNTIME))
    full, lora = (flow_values(nano, STRUCTURE_FLOW, 650, steps=None, lora_rank=rank) for rank in (None, 16))
    given, other = (values["trainer"]["args"] for values in (full, lora))
    assert (given["batch_size"], given["max_steps"], given["lora"]) == (64, 1000, None)
    assert given["learned_strength"] == 1.0, "it goes on to learn the guidance that it has"
    latents = flow_values(nano, FLOWS["latent_flow"], 650, steps=None, lora_rank=None)
    assert latents["trainer"]["args"]["learned_strength"] == 0.0
    assert given["optimizer"]["args"]["lr"] == pytest.approx(3.2e-4)
    assert other["optimizer"]["args"]["lr"] == pytest.approx(9.6e-4) and other["lora"] == {"rank": 16, "alpha": 16}


@pytest.mark.parametrize("lora", [False, True])
def test_the_result_is_a_model(lora: bool, model: Path, data: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    assert main(line(model, data, tmp_path, "--steps", "2", *(["--lora", "2"] if lora else []))) == 0
    before, after = weights(model), weights(tmp_path / "model")
    changed = {name for name in before if before[name] != after[name]}
    flows = {f"{STRUCTURE_FLOW}.safetensors", f"{LATENT_FLOW}.safetensors"}
    assert before.keys() == after.keys() and changed == flows | ({"model.safetensors"} if not lora else set())
    trained = tmp_path / "structure_flow" / "best" / "image_encoder" / "model.safetensors"
    assert trained.is_file() != lora and (lora or trained.read_bytes() == after["model.safetensors"])
    asked = json.loads((tmp_path / "latent_flow" / "config.json").read_text())["trainer"]["args"]["image_cond_model"]
    assert Path(asked["path"]) == (model / "image_encoder" if lora else trained.parent)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "pipeline.json", "training.json", "ckpts", "encoders", "image_encoder"
    }  # fmt: skip
    opened = open_model(tmp_path / "model", runtime=RUNTIME)
    assert set(opened.operations) == set(open_model(model, runtime=RUNTIME).operations)
    for role in (STRUCTURE_FLOW, LATENT_FLOW):
        assert load_model(tmp_path / "model" / "ckpts" / role).config == load_model(model / "ckpts" / role).config
    for run, role in (("structure_flow", STRUCTURE_FLOW), ("latent_flow", LATENT_FLOW)):
        assert [step for step, row in read_log(tmp_path / run).items() if "held_out_loss" in row] == [1, 2]
        best = load_file(tmp_path / run / "best" / "denoiser.safetensors")
        kept = load_file(tmp_path / "model" / "ckpts" / f"{role}.safetensors")
        assert all(torch.equal(value, kept[name]) for name, value in best.items())
        drawn = [np.asarray(Image.open(path)) for path in sorted((tmp_path / run / "samples").iterdir())]
        assert len(drawn) == 2 and all(picture.shape == (2 * 192, 4 * 192, 3) for picture in drawn)
        assert drawn[0][192:].std() > 1 or run == "structure_flow"
        updates = tmp_path / run / "denoiser_lora.safetensors"
        assert updates.is_file() == lora
        if lora:
            with safe_open(updates, "pt") as file:
                assert file.metadata() == {"rank": "2", "alpha": "2.0"}
                assert all("lora_" in name for name in file.keys())  # noqa: SIM118 - it is no dictionary
    caplog.clear()
    assert main(["--status", str(tmp_path)]) == 0
    assert "structure_flow: step 2" in caplog.text and "held-out loss" in caplog.text


def test_voxels_are_drawn_from_the_front() -> None:
    logits = torch.full((1, 1, 4, 4, 4), -1.0)
    logits[0, 0, 0, 0, 3], logits[0, 0, 3, 3, 0] = 1.0, 1.0  # near on the left, on top; far on the right, below
    (picture,) = draw_structures(lambda latents: logits, torch.zeros(1))  # type: ignore[arg-type]
    shades = np.asarray(picture.convert("L").resize((4, 4), Image.Resampling.NEAREST)).astype(int)
    assert shades[0, 0] == 255 and 0 < shades[3, 3] < 150 and shades.sum() == shades[0, 0] + shades[3, 3]


def test_what_training_starts_from(model: Path, tmp_path: Path) -> None:
    stem = model / "ckpts" / STRUCTURE_FLOW
    description = json.loads(stem.with_suffix(".json").read_text())
    expected = load_model(stem).state_dict()
    torch.save(expected, tmp_path / "weights.pt")
    for source in (stem, stem.with_suffix(".safetensors"), model, tmp_path / "weights.pt"):
        network = create_model(description["name"], description["args"])
        load_start(network, str(source), STRUCTURE_FLOW, RUNTIME)
        assert all(torch.equal(value, network.state_dict()[name]) for name, value in expected.items())
    wider = create_model(description["name"], {**description["args"], "cond_channels": 64})
    with pytest.raises(CheckpointError, match=r"to_kv.weight has shape \[64, 32\], the network needs \[64, 64\]"):
        load_start(wider, str(stem), STRUCTURE_FLOW, RUNTIME)
    with pytest.raises(CheckpointError, match="it lacks"):
        load_start(wider, str(model / "ckpts" / "sparse_structure_decoder"), STRUCTURE_FLOW, RUNTIME)
    with pytest.raises(CheckpointError, match="nowhere"):
        load_start(wider, "nowhere", STRUCTURE_FLOW, RUNTIME)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output_dir", "{0}"], "Give --config or --finetune"),
        (["--output_dir", "{0}", "--finetune", "nano"], "Give --data_dir"),
        (["--output_dir", "{0}", "--config", "{0}/none.json"], "There is no training configuration"),
        (["--output_dir", "{0}", "--finetune", "nano", "--data_dir", "{0}", "--num_gpus", "0"], "num_gpus must be"),
        (["--status", "{0}"], "holds no run"),
    ],
)
def test_wrong_lines_are_sentences(words: list[str], said: str, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.ERROR):
        assert main([word.format(tmp_path) for word in words] + ["--device", "cpu"]) == 1
    assert said in caplog.text


def test_a_run_that_breaks_off_is_begun_again(model: Path, data: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    from trellis.training.trainer import Trainer

    step, broken = Trainer._step, iter([True] * 3)

    def breaks(trainer: Trainer):
        if trainer.position.step == 2 and next(broken, False):
            raise RuntimeError("the card has gone")
        return step(trainer)

    monkeypatch.setattr(Trainer, "_step", breaks)
    monkeypatch.setattr(ReleasedFlow, "samples", lambda stage: {})
    options = ["--steps", "4", "--auto_retry"]
    with caplog.at_level(logging.WARNING):
        assert main(line(model, data, tmp_path, *options, "1")) == 1
        assert "Training broke off 2 times, at last by: the card has gone" in caplog.text
        caplog.set_level(logging.INFO)
        assert main(line(model, data, tmp_path, *options, "1", "--ckpt", "none")) == 0
    assert "resumed at step 2" in caplog.text  # its own state, not that of the first two attempts, which had none
    assert "resumed at step 2" not in caplog.text.split("attempt 2 of 2 follows")[0]
