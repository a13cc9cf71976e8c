"""A stage starts from another's weights, strictly; and trains on the families it is told to."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.training.tiny import tiny_config, tiny_trainer
from trellis.conditioning import ImageEncoder
from trellis.errors import CheckpointError, InvalidInputError
from trellis.training.config import DataConfig
from trellis.training.data import held_out_batch, sample_chunk, training_families
from trellis.training.networks import build_image_encoder
from trellis.training.state import steps_saved

CPU = torch.device("cpu")
INIT = {
    "image_encoder": "structure_flow/image_encoder",
    "sparse_structure_flow_model": "structure_flow",
}


def test_flows_start_from_the_structure_flow(runs: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config("flows"), init=INIT)
    source = tiny_trainer(tiny_config("structure_flow"), runs)
    source.resume()
    started = tiny_trainer(config, tmp_path, inputs=runs).stage.modules
    with source.ema.applied():
        for role in INIT:
            trained = dict(source.stage.modules[role].named_parameters())
            for key, value in started[role].named_parameters():
                # The image encoder is stored in float16.
                tolerance = 2e-3 if role == "image_encoder" else 0.0
                assert torch.allclose(value, trained[key], atol=tolerance), key
    fresh = tiny_trainer(tiny_config("flows"), tmp_path, inputs=runs).stage.modules
    for role in ("slat_flow_model", *INIT):
        same = [torch.equal(a, b) for a, b in zip(fresh[role].parameters(), started[role].parameters())]
        assert all(same) == (role not in INIT)


def test_started_run_resumes_bitwise(runs: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config("flows", steps=4), init=INIT)
    whole = tiny_trainer(config, tmp_path / "whole", inputs=runs)
    assert whole.run()

    class Stop:
        def report(self, stage: str, step: int, total: int) -> None:
            if step == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_trainer(config, tmp_path / "parts", inputs=runs).run(progress=Stop())  # type: ignore[arg-type]
    second = tiny_trainer(config, tmp_path / "parts", inputs=runs)
    second.resume()
    assert second.run()
    found = second.stage.modules.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in whole.stage.modules.state_dict().items())


def test_weights_must_fit(runs: Path, tmp_path: Path) -> None:
    config = tiny_config("flows")
    for init, message in (
        ({"sparse_structure_flow_model": "nowhere"}, "missing"),
        ({"image_encoder": "nowhere"}, "missing"),
        ({"sparse_structure_flow_model": "flows/slat_flow_model"}, "does not fit"),
    ):
        with pytest.raises(CheckpointError, match=message):
            tiny_trainer(dataclasses.replace(config, init=init), tmp_path, inputs=runs)
    with pytest.raises(InvalidInputError, match="slat_encoder"):
        tiny_trainer(dataclasses.replace(config, init={"slat_encoder": "latent_vae"}), tmp_path, inputs=runs)


def test_a_stopped_run_exports_what_it_has(runs: Path, tmp_path: Path) -> None:
    run = tiny_trainer(tiny_config("structure_vae", steps=1000), tmp_path)

    class Stop:
        def report(self, stage: str, step: int, total: int) -> None:
            if step == 3:
                run.stop()

    assert not run.run(progress=Stop())  # type: ignore[arg-type]
    assert run.position.step == 3 == steps_saved(run.folder)[-1]
    exported = tmp_path / "structure_vae" / "sparse_structure_decoder.safetensors"
    written = exported.stat().st_mtime_ns
    again = tiny_trainer(tiny_config("structure_vae", steps=1000), tmp_path)
    again.stop()
    assert not again.run()
    assert exported.stat().st_mtime_ns == written


def test_exports_while_training(tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config("structure_vae", steps=3), export_seconds=1e-6)
    run = tiny_trainer(config, tmp_path)
    seen = []

    class Look:
        def report(self, stage: str, step: int, total: int) -> None:
            seen.append((tmp_path / "structure_vae" / "sparse_structure_encoder.safetensors").is_file())

    assert run.run(progress=Look())  # type: ignore[arg-type]
    assert seen == [True] * 3


def test_chosen_families() -> None:
    config = DataConfig(families=("mug", "car", "windmill"), hold_out=("windmill",), chunk=2, held_out_objects=20)
    assert training_families(config) == ["mug", "car"]
    assert [sample_chunk(config, n, CPU).names()[0] for n in range(3)] == ["mug", "car", "mug"]
    assert set(held_out_batch(config, CPU).names()) == {"mug", "car"}
    with pytest.raises(InvalidInputError, match=r"data\.families"):
        training_families(DataConfig(families=("submarine",)))
    with pytest.raises(InvalidInputError, match="no family"):
        training_families(DataConfig(families=("mug",), hold_out=("mug",)))


def test_fresh_image_encoder_tells_places_and_pictures_apart() -> None:
    torch.manual_seed(0)
    encoder = build_image_encoder(
        {
            "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 4, "image_size": 64,
            "patch_size": 8, "num_register_tokens": 4, "num_channels": 3, "layerscale_value": 1.0,
        }
    )  # fmt: skip
    assert isinstance(encoder, ImageEncoder)
    with torch.no_grad():
        black = encoder(torch.zeros(1, 3, 64, 64))[0, 5:]
        noise = encoder(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))[:, 5:]
    assert float(black.std(0).mean()) > 0.5  # places, on an empty picture
    assert float((noise[0] - noise[1]).std()) > 0.3
