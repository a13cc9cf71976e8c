"""config.yaml of Hunyuan3D-2 models: what is read of it, and what is refused with a sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trellis.errors import CheckpointError
from trellis.families.hunyuan_config import VIEWS, read_config, read_decoder_config

Change = Callable[[dict[str, Any]], None]


def published() -> dict[str, Any]:
    """A `config.yaml` as the turbo models have it, its classes under a made-up package."""
    return {
        "model": {
            "target": "somewhere.models.Hunyuan3DDiT",
            "params": {
                "in_channels": 64, "context_in_dim": 1536, "hidden_size": 1024, "mlp_ratio": 4.0, "num_heads": 16,
                "depth": 16, "depth_single_blocks": 32, "axes_dim": [64], "theta": 10000, "qkv_bias": True,
                "guidance_embed": True,
            },
        },
        "vae": {
            "target": "somewhere.models.ShapeVAE",
            "params": {
                "num_latents": 3072, "embed_dim": 64, "num_freqs": 8, "include_pi": False, "heads": 16, "width": 1024,
                "num_decoder_layers": 16, "qkv_bias": False, "qk_norm": True, "scale_factor": 0.9990943042622529,
            },
        },
        "conditioner": {
            "target": "somewhere.models.SingleImageEncoder",
            "params": {
                "main_image_encoder": {
                    "type": "DinoImageEncoder",
                    "kwargs": {
                        "config": {
                            "hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24, "mlp_ratio": 4,
                            "layer_norm_eps": 1e-6, "patch_size": 14, "image_size": 518, "use_swiglu_ffn": True,
                        },
                        "image_size": 518,
                    },
                }
            },
        },
        "scheduler": {
            "target": "somewhere.schedulers.ConsistencyFlowMatchEulerDiscreteScheduler",
            "params": {"num_train_timesteps": 1000, "pcm_timesteps": 100},
        },
        "image_processor": {
            "target": "somewhere.preprocessors.ImageProcessorV2",
            "params": {"size": 512, "border_ratio": 0.15},
        },
        "pipeline": {"target": "somewhere.pipelines.Hunyuan3DDiTFlowMatchingPipeline"},
    }  # fmt: skip


def written(folder: Path, data: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def to_plain(data: dict[str, Any]) -> None:
    data["model"]["params"].pop("guidance_embed")
    data["scheduler"] = {"target": "x.FlowMatchEulerDiscreteScheduler", "params": {"num_train_timesteps": 1000}}


def to_fast(data: dict[str, Any]) -> None:
    to_plain(data)
    data["model"]["params"]["guidance_embed"] = True


def to_mini(data: dict[str, Any]) -> None:
    data["model"]["params"] |= {"depth": 8, "depth_single_blocks": 16}
    data["vae"]["params"]["num_latents"] = 512


def to_views(data: dict[str, Any]) -> None:
    data["conditioner"]["params"]["main_image_encoder"]["type"] = "DinoImageEncoderMV"
    data["image_processor"]["target"] = "x.MVImageProcessorV2"


@pytest.mark.parametrize(
    ("change", "kind", "mini", "views", "steps"),
    [
        (None, "turbo", False, (), 5),
        (to_plain, "plain", False, (), 30),
        (to_fast, "fast", False, (), 30),
        (to_mini, "turbo", True, (), 5),
        (to_views, "turbo", False, VIEWS, 5),
    ],
)
def test_kinds_are_told_by_parameters(
    tmp_path: Path, change: Change | None, kind: str, mini: bool, views: tuple[str, ...], steps: int
) -> None:
    data = published()
    if change is not None:
        change(data)
    config = read_config(written(tmp_path, data))
    assert (config.kind, config.is_mini, config.views, config.steps) == (kind, mini, views, steps)
    assert config.decoder.scale_factor == 0.9990943042622529 and not config.decoder.is_turbo
    assert (config.picture.size, config.picture.border_ratio, config.encoder.num_hidden_layers) == (512, 0.15, 40)


def test_a_decoder_alone_is_read_with_and_without_a_section(tmp_path: Path) -> None:
    vae = published()["vae"]
    turbo = {"geo_decoder_downsample_ratio": 2, "geo_decoder_mlp_expand_ratio": 1, "geo_decoder_ln_post": False}
    vae["params"] |= turbo
    sizes = read_decoder_config(written(tmp_path, vae))
    assert sizes.is_turbo and not sizes.geo_decoder_ln_post and sizes.geo_decoder_mlp_expand_ratio == 1
    assert read_decoder_config(written(tmp_path, {"vae": vae})) == sizes


def test_numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    path = written(tmp_path, published())
    text = (
        path.read_text()
        .replace("0.9990943042622529", "1e-3")
        .replace("layer_norm_eps: 1.0e-06", "layer_norm_eps: 1e-6")
    )
    assert "layer_norm_eps: 1e-6" in text
    path.write_text(text)
    assert read_config(path).decoder.scale_factor == 1e-3


def drop(*places: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for place in places[:-1]:
            data = data[place]
        del data[places[-1]]

    return change


def put(value: Any, *places: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for place in places[:-1]:
            data = data[place]
        data[places[-1]] = value

    return change


ENCODER = ("conditioner", "params", "main_image_encoder")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("vae"), "it has no section vae"),
        (put("text", "scheduler"), "it has no section scheduler"),
        (put("os.system", "model", "target"), "target 'os.system' is unknown; known: Hunyuan3DDiT"),
        (put(3, "model", "target"), "target 3 is unknown"),
        (put("x.DDIMScheduler", "scheduler", "target"), "known: FlowMatchEuler"),
        (put("ClipEncoder", *ENCODER, "type"), "known: DinoImageEncoder"),
        (drop("model", "params"), "has no section params"),
        (drop("model", "params", "depth"), "has no depth"),
        (put("16", "model", "params", "num_heads"), "num_heads must be a positive whole number"),
        (put(True, "model", "params", "depth"), "depth must be a positive whole number"),
        (put(1e9, "vae", "params", "width"), "width must be a positive whole number up to"),
        (put(-1.0, "vae", "params", "scale_factor"), "scale_factor must be a positive number"),
        (put("big", "vae", "params", "scale_factor"), "scale_factor must be a positive number"),
        (put("yes", "model", "params", "guidance_embed"), "guidance_embed must be true or false"),
        (put(False, "model", "params", "guidance_embed"), "needs a flow with guidance_embed"),
        (put(True, "vae", "params", "include_pi"), "include_pi = True is not supported"),
        (put(False, *ENCODER, "kwargs", "config", "use_swiglu_ffn"), "use_swiglu_ffn = False is not supported"),
        (put(7, "model", "params", "num_heads"), "cannot be divided into 7 heads"),
        (put(32, "vae", "params", "embed_dim"), "do not fit each other: 64 and 32 latent channels"),
        (put(768, *ENCODER, "kwargs", "config", "hidden_size"), "1536 and 768 condition channels"),
        (put(2000, "scheduler", "params", "pcm_timesteps"), "at most 1000"),
        (put(1.5, "image_processor", "params", "border_ratio"), "border_ratio must be less than 1"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: Change, words: str) -> None:
    data = published()
    change(data)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_config(written(tmp_path, data))
    assert "config.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["model: [", "- 1", "!!python/object/apply:os.getcwd []", "a: &a [*a]\n? *a : b"])
def test_files_that_are_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        read_config(path)
    with pytest.raises(CheckpointError, match="is missing"):
        read_config(tmp_path / "none.yaml")


def test_reading_needs_no_torch() -> None:
    code = "import sys, trellis.families.hunyuan_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
