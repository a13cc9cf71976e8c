"""Checkpoints: round trips, and errors that name what is wrong."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from trellis.errors import CheckpointError, FetchError
from trellis.families.catalogue import list_models, resolve_model
from trellis.families.trellis_family import network_stem
from trellis.models import PipelineConfig, create_model, load_model, save_model
from trellis.runtime import Runtime

ARGS = {
    "resolution": 8,
    "in_channels": 4,
    "model_channels": 32,
    "latent_channels": 8,
    "num_blocks": 1,
    "num_heads": 2,
    "attn_mode": "swin",
    "window_size": 4,
    "use_fp16": True,
}
SAMPLER = {
    "name": "FlowEulerGuidanceIntervalSampler",
    "args": {"sigma_min": 1e-5},
    "params": {"steps": 25, "cfg_strength": 5.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0},
}
ROLES = ("sparse_structure_flow_model", "sparse_structure_decoder", "slat_flow_model")
PIPELINE = {
    "name": "TrellisImageTo3DPipeline",
    "args": {
        "models": {role: f"ckpts/{role}" for role in ROLES},
        "sparse_structure_sampler": SAMPLER,
        "slat_sampler": SAMPLER,
        "slat_normalization": {"mean": [0.0] * 8, "std": [1.0] * 8},
        "image_cond_model": "dinov2_vitl14_reg",
    },
}


@pytest.fixture
def stem(tmp_path):
    torch.manual_seed(0)
    model = create_model("SLatEncoder", ARGS)
    model.set_precision(torch.float32)
    save_model(model, tmp_path / "net")
    return tmp_path / "net"


def test_round_trip_keeps_half_precision_values_and_layout(stem):
    stored = load_file(f"{stem}.safetensors")
    assert stored["blocks.0.attn.to_qkv.weight"].dtype == torch.float16
    assert stored["input_layer.weight"].dtype == torch.float32
    model = load_model(stem, dtype=torch.float16)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in model.state_dict().items())
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert load_model(stem).torso_dtype == torch.float32
    assert sorted(path.name for path in stem.parent.iterdir()) == ["net.json", "net.safetensors"]


def edit(stem, change):
    tensors = load_file(f"{stem}.safetensors")
    change(tensors)
    save_file(tensors, f"{stem}.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("out_layer.bias"), r"1 missing \(out_layer.bias\)"),
        (lambda t: t.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (lambda t: t.update({"out_layer.bias": torch.zeros(3)}), r"out_layer.bias has shape \[3\].*\[16\]"),
    ],
)
def test_wrong_tensors_are_named(stem, change, message):
    edit(stem, change)
    with pytest.raises(CheckpointError, match=message) as error:
        load_model(stem)
    assert "net.safetensors" in str(error.value)


def test_damaged_and_missing_files_are_named(stem):
    weights = stem.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"net.safetensors is damaged"):
        load_model(stem)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"net.safetensors is missing"):
        load_model(stem)
    stem.with_suffix(".json").write_text("{")
    with pytest.raises(CheckpointError, match=r"net.json cannot be read"):
        load_model(stem)
    stem.with_suffix(".json").write_text(json.dumps({"name": "SLatEncoder", "args": {**ARGS, "depth": 3}}))
    with pytest.raises(CheckpointError, match="unknown argument depth"):
        load_model(stem)
    with pytest.raises(CheckpointError, match=r"nothing.json is missing"):
        load_model(stem.parent / "nothing")


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_blocks": 10**7}, "num_blocks = 10000000 is no size"),
        ({"num_blocks": 10**4}, "num_blocks = 10000 does not fit the 1. tensors of net.safetensors"),
        ({"model_channels": 10**9}, "model_channels = 1000000000 is no size"),
        ({"model_channels": 2**16}, "shape"),
        ({"in_channels": -1}, "net.json: "),
        ({"num_heads": float("nan")}, "num_heads = nan is no size"),
        ({"mlp_ratio": 1e300}, "mlp_ratio = 1e.300 is no size"),
        ({"num_heads": None, "num_head_channels": 64}, "net.json: "),
        ({"model_channels": "32"}, "net.json: "),
        ({"num_blocks": [1]}, "net.json: "),
        ({"representation_config": {"num_gaussians": 10**9}}, "representation_config.num_gaussians = 1000000000 is no"),
        ({"attn_mode": [0] * 1000}, "attn_mode has 1000 entries"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_built(stem, args, message):
    rewrite(stem.with_suffix(".json"), lambda content: content["args"].update(args))
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=message):
        load_model(stem)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_named_before_anything_is_built(stem, monkeypatch, keep):
    weights = stem.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:keep])
    monkeypatch.setattr("trellis.models.checkpoint.create_model", None)
    with pytest.raises(CheckpointError, match=r"net.safetensors is damaged or cannot be read"):
        load_model(stem)


@pytest.mark.parametrize(
    "text", ["", "[]", "nul", '{"name": 1, "args": {}}', "[" * 10**5, '{"a": ' * 10**5, "\x00", "9" * 5000]
)
@pytest.mark.parametrize("file", ["net.json", "pipeline.json"])
def test_wrong_json_is_named(stem, text, file):
    (stem.parent / file).write_text(text)
    with pytest.raises(CheckpointError, match=file):
        load_model(stem) if file == "net.json" else PipelineConfig.read(stem.parent / file)


def test_endless_json_is_not_read(stem):
    with stem.with_suffix(".json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="larger than any description"):
        load_model(stem)


def test_values_that_overflow_are_not_saved(stem, tmp_path):
    model = load_model(stem)
    with torch.no_grad():
        model.blocks[0].attn.to_out.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"blocks.0.attn.to_out.weight .*float16"):
        save_model(model, tmp_path / "other")
    assert not (tmp_path / "other.safetensors").exists()


def test_pipeline_round_trip(tmp_path):
    config = PipelineConfig.from_dict(PIPELINE)
    assert config.to_dict() == PIPELINE
    config.write(tmp_path / "pipeline.json")
    assert PipelineConfig.read(tmp_path / "pipeline.json") == config
    assert config.structure_sampler.cfg_interval == (0.5, 1.0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("args", "models"), {"slat_flow_model": "x"}, "sparse_structure_flow_model"),
        (("args", "slat_sampler"), {**SAMPLER, "name": "Heun"}, "Heun"),
        (("args", "slat_sampler"), {**SAMPLER, "params": {"steps": 3}}, "cfg_interval"),
        (("args", "slat_normalization"), {"mean": [0.0]}, "std"),
        (("args", "slat_normalization"), {"mean": [0.0], "std": [0.0]}, "positive"),
        (("args", "image_cond_model"), {"path": "x"}, "image_size"),
        (("name",), "Other", "TrellisImageTo3DPipeline"),
        (("args",), [], "is not a pipeline"),
        (("args", "models"), "abc", "is not a pipeline"),
        (("args", "models"), dict.fromkeys(ROLES, 5), "path for every network"),
        (("args", "slat_sampler"), "Euler", "is not a pipeline"),
        (("args", "slat_sampler"), {**SAMPLER, "params": {**SAMPLER["params"], "steps": 10**9}}, "out of range"),
        (("args", "slat_sampler"), {**SAMPLER, "params": {**SAMPLER["params"], "steps": "25"}}, "out of range"),
        (("args", "slat_sampler"), {**SAMPLER, "params": {**SAMPLER["params"], "rescale_t": float("nan")}}, "range"),
        (("args", "slat_sampler"), {**SAMPLER, "params": {**SAMPLER["params"], "cfg_strength": "5"}}, "unknown"),
        (("args", "slat_normalization"), {"mean": [0.0] * 10**6, "std": [1.0] * 10**6}, "at most 1024"),
        (("args", "slat_normalization"), {"mean": [float("nan")], "std": [1.0]}, "slat_normalization"),
        (("args", "slat_normalization"), {"mean": ["0"], "std": ["1"]}, "is not a pipeline"),
        (("args", "image_cond_model"), 5, "must be a name"),
        (("args", "texture_source"), "picture", "texture_source must be one of gaussians, mesh"),
        (("args", "image_cond_model"), {"path": "x", "image_size": 10**9}, "image_size"),
    ],
)
def test_wrong_pipelines_are_refused(path, value, message):
    data = json.loads(json.dumps(PIPELINE))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(CheckpointError, match=message):
        PipelineConfig.from_dict(data)


def model_folder(root, stem, **models):
    folder = root / "mine"
    (folder / "ckpts").mkdir(parents=True)
    data = json.loads(json.dumps(PIPELINE))
    data["args"]["models"].update(models)
    (folder / "pipeline.json").write_text(json.dumps(data))
    for suffix in (".json", ".safetensors"):
        (folder / "ckpts" / f"net{suffix}").write_bytes(stem.with_suffix(suffix).read_bytes())
    return folder


def test_networks_load_by_role_also_from_another_repository(stem, tmp_path):
    folder = model_folder(tmp_path, stem, slat_encoder="ckpts/net", slat_decoder_gs="someone/mine/ckpts/net")
    shutil.copytree(folder, tmp_path / "someone" / "mine")
    location = resolve_model(str(folder), runtime=Runtime(model_folder=tmp_path))
    for role in ("slat_encoder", "slat_decoder_gs"):
        assert type(load_model(network_stem(location, role))).__name__ == "LatentEncoder"
    with pytest.raises(CheckpointError, match="slat_decoder_rf"):
        network_stem(location, "slat_decoder_rf")


def test_model_names(stem, tmp_path):
    model_folder(tmp_path, stem)
    runtime = Runtime(offline=True, model_folder=tmp_path)
    assert resolve_model("mine", runtime=runtime).folder == tmp_path / "mine"
    image = resolve_model("TRELLIS-image-large", runtime=runtime)
    assert image.repositories[0] == "microsoft/TRELLIS-image-large"
    assert resolve_model(image.repositories[1], runtime=runtime).repositories == image.repositories[::-1]
    with pytest.raises(CheckpointError, match="nano"):
        resolve_model("no such model", runtime=runtime)
    with pytest.raises(CheckpointError, match=r"pipeline.json"):
        resolve_model(str(stem.parent), runtime=Runtime())
    entries = {entry.name: entry for entry in list_models(runtime)}
    assert entries["mine"].location == tmp_path / "mine"
    assert entries["mine"].size_bytes == stem.with_suffix(".safetensors").stat().st_size


def test_offline_error_names_file_and_repositories(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"pipeline.json or config.yaml of owner/absent-model cannot be had \(offline"):
        resolve_model("owner/absent-model", runtime=Runtime(offline=True)).describe()


def test_the_hub_is_told_nothing():
    code = "import trellis.families.location, huggingface_hub.constants as c; print(c.HF_HUB_DISABLE_TELEMETRY)"
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_DISABLE_TELEMETRY"}
    for given, expected in ({}, "True"), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, "False"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | given,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout.strip() == expected


def test_opening_the_embedded_model_imports_neither_transformers_nor_the_compiler_of_torch():
    code = (
        "import sys; from trellis.opening import open_model; from trellis.runtime import Runtime\n"
        "pipeline = open_model('nano', runtime=Runtime.detect(device='cpu', offline=True)); host = pipeline.host\n"
        "for role in host.roles:\n    with host.on_device(role): pass\n"
        "print(len(host.roles), sorted({'transformers', 'torch._dynamo', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "9 []", done.stderr
