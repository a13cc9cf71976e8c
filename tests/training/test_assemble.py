"""Assembly: a folder in the published format, checked before it replaces anything."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from trellis.errors import CheckpointError
from trellis.families.trellis_family import NANO_FOLDER
from trellis.models import PipelineConfig, load_model
from trellis.pipeline import ImageTo3D
from trellis.runtime import Runtime
from trellis.training import assemble as module
from trellis.training.assemble import DECODERS, ENCODERS, assemble, main
from trellis.training.config import STAGES
from trellis.training.start import SETTINGS_FILE


def test_folder_holds_every_network_in_float16(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    sizes = assemble(runs, output)
    found = {str(path.relative_to(output)): path.stat().st_size for path in output.rglob("*") if path.is_file()}
    assert found == sizes
    config = PipelineConfig.read(output / "pipeline.json")
    assert set(config.models) == set(DECODERS)
    shipped = PipelineConfig.read(NANO_FOLDER / "pipeline.json")
    assert (config.structure_sampler, config.latent_sampler) == (shipped.structure_sampler, shipped.latent_sampler)
    assert (config.structure_sampler.steps, config.latent_sampler.cfg_strength) == (2, 0.0)
    statistics = json.loads((runs / "latent_vae" / "slat_normalization.json").read_text())
    assert config.latent_statistics == (tuple(statistics["mean"]), tuple(statistics["std"]))
    for folder, roles in (("ckpts", DECODERS), ("encoders", ENCODERS)):
        for role, stage in roles.items():
            mine, source = load_model(output / folder / role), load_model(runs / stage / role)
            assert mine.config.use_fp16 and not source.config.use_fp16
            expected = source.state_dict()
            assert all(torch.allclose(v, expected[k], atol=2e-3) for k, v in mine.state_dict().items()), role
    assert set(json.loads((output / SETTINGS_FILE).read_text())) == set(STAGES)
    assert not list(tmp_path.glob("*.part"))


def test_assembled_model_makes_an_asset(model: Path) -> None:
    picture = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(picture).ellipse((10, 6, 54, 58), fill=(200, 80, 30, 255))
    asset = ImageTo3D.from_pretrained(model, runtime=Runtime())(picture, structure_steps=2, latent_steps=2)
    assert asset.mesh is not None and asset.gaussians is not None
    assert len(asset.mesh.faces) > 100 and len(asset.gaussians.positions) == 8 * len(asset.coords) > 100
    assert float(asset.latent.std()) > 0.01 and bool(asset.mesh.vertices.isfinite().all())


def test_large_files_are_refused_and_the_old_model_stays(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model"
    output.mkdir()
    (output / "kept").write_text("old")
    largest = max(path.stat().st_size for path in runs.rglob("*.safetensors"))
    monkeypatch.setattr(module, "FILE_LIMIT", largest // 4)
    with pytest.raises(CheckpointError, match="exceed"):
        assemble(runs, output)
    monkeypatch.setattr(module, "FILE_LIMIT", 10**9)
    monkeypatch.setattr(module, "TOTAL_LIMIT", 1000)
    with pytest.raises(CheckpointError, match="without encoders"):
        assemble(runs, output)
    assert [path.name for path in output.iterdir()] == ["kept"]
    monkeypatch.setattr(module, "TOTAL_LIMIT", 10**9)
    assemble(runs, output)
    assert not (output / "kept").exists() and (output / "pipeline.json").is_file()


@pytest.mark.parametrize("missing", ["structure_vae", "latent_vae", "flows", "flows/image_encoder"])
def test_missing_stage_is_named(missing: str, runs: Path, tmp_path: Path) -> None:
    partial = tmp_path / "runs"
    shutil.copytree(runs, partial, ignore=shutil.ignore_patterns("*.pt"))
    shutil.rmtree(partial / missing)
    with pytest.raises(CheckpointError, match=missing.split("/")[-1]):
        assemble(partial, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert main(["--runs", str(partial), "--output", str(tmp_path / "model")]) == 1
