"""Text pipelines on a tiny random model in the published folder format, with a tiny CLIP of its own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.released import NETWORKS, SAMPLER, make_scene, random_network
from tests.contract.sources import ROOT
from trellis.asset import Asset
from trellis.conditioning import TextEncoder
from trellis.editing.boxes import Box
from trellis.errors import Cancelled, CheckpointError, InvalidInputError
from trellis.models import PipelineConfig, save_model
from trellis.opening import open_model
from trellis.pipeline import ImageTo3D, TextTo3D
from trellis.progress import CancelToken, Progress
from trellis.runtime import Runtime

WIDTH, LENGTH = 32, 16  # of the tiny CLIP; the tiny flows take conditions of this width
RUNTIME = Runtime(device=torch.device("cpu"), offline=True)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as `pipeline.json` and checkpoints, its text encoder in the folder `clip`."""
    folder = tmp_path_factory.mktemp("text-model")
    (folder / "ckpts").mkdir()
    roles = [role for role in NETWORKS if role != "slat_decoder_rf"]
    for role in roles:
        network = random_network(role, scale="tiny", dtype=torch.float32, device=torch.device("cpu"))
        save_model(network, folder / "ckpts" / role)
    config = PipelineConfig(
        name="TrellisTextTo3DPipeline",
        models={role: f"ckpts/{role}" for role in roles},
        structure_sampler=replace(SAMPLER, steps=2, cfg_strength=7.5, cfg_interval=(0.5, 0.95)),
        latent_sampler=replace(SAMPLER, steps=2, cfg_strength=7.5, cfg_interval=(0.5, 0.95)),
        latent_statistics=((0.0,) * 8, (1.0,) * 8),
        text_cond_model="clip",
    )
    config.write(folder / "pipeline.json")
    write_clip(folder / "clip")
    return folder


def write_clip(folder: Path) -> None:
    """A CLIP text network of random weights and a tokenizer of single letters, as their libraries save them."""
    folder.mkdir()
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = special | {"pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=len(vocabulary) - 2,
        eos_token_id=len(vocabulary) - 1,
        pad_token_id=len(vocabulary) - 1,
    )
    torch.manual_seed(0)
    CLIPTextModel(config).save_pretrained(folder)


def test_prompts_become_padded_features(model: Path) -> None:
    encoder = TextEncoder.from_pretrained("clip", model, RUNTIME)
    with torch.inference_mode():
        together = encoder(["a red mug", "", "a very long prompt that does not fit into so few tokens"])
        alone = encoder(["a red mug"])
    assert together.shape == (3, LENGTH, WIDTH) and together.dtype == torch.float32
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1]) and not torch.allclose(together[0], together[2])
    with pytest.raises(InvalidInputError, match="at least one prompt"):
        encoder([])


def test_a_missing_encoder_is_explained(model: Path) -> None:
    with pytest.raises(CheckpointError, match=r"openai/clip-vit-large-patch14 cannot be loaded"):
        TextEncoder.from_pretrained("openai/clip-vit-large-patch14", model, RUNTIME)


def test_a_text_becomes_the_same_asset_every_time(model: Path) -> None:
    pipeline = open_model(model, runtime=RUNTIME)
    assert isinstance(pipeline, TextTo3D)
    first, same, other = (latent_of(pipeline, text) for text in ("a red mug", "a red mug", "a boat"))
    assert torch.isfinite(first).all() and first.std() > 0
    assert torch.equal(first, same) and not torch.allclose(first, other)
    assert not torch.equal(first, latent_of(pipeline, "a red mug", seed=1))


def latent_of(pipeline: TextTo3D, prompt: str, *, seed: int = 0) -> torch.Tensor:
    """The structure's latent and the structured latent for a prompt, on voxels that do not depend on the weights."""
    progress, generator = Progress(), torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        condition = pipeline.read(prompt, progress=progress)
        sampler = pipeline.config.structure_sampler
        structure = pipeline.sample_structure(condition, sampler, generator, "stochastic", progress)
        voxels = make_scene(scale="tiny", device=torch.device("cpu")).voxels
        latent = pipeline.sample_latent(condition, voxels, sampler, generator, "stochastic", progress)
    return torch.cat([structure.flatten(), latent.feats.flatten()])


def test_the_null_condition_is_the_empty_prompt(model: Path) -> None:
    pipeline = TextTo3D.from_pretrained(model, runtime=RUNTIME)
    with torch.inference_mode():
        condition = pipeline.read("a red mug", progress=Progress())
        expected = TextEncoder.from_pretrained("clip", model, RUNTIME)([""])
    torch.testing.assert_close(condition.null, expected, rtol=1e-5, atol=1e-6)
    assert condition.null.abs().max() > 0 and not torch.allclose(condition.null, condition.tokens[0])


def test_a_call_reaches_every_stage_and_can_be_cancelled(model: Path) -> None:
    pipeline = TextTo3D.from_pretrained(model, runtime=RUNTIME)
    token, stages = CancelToken(), []

    def listen(info: object) -> None:
        stages.append(info.stage)  # type: ignore[attr-defined]
        if info.stage == "latent":  # type: ignore[attr-defined]
            token.cancel()

    pipeline.decode_structure = lambda latent: (
        make_scene(  # type: ignore[method-assign]
            scale="tiny", device=torch.device("cpu")
        ).voxels
    )  # random weights find no object
    with pytest.raises(Cancelled):
        pipeline("a red mug", progress=Progress(listen, token))
    assert list(dict.fromkeys(stages)) == ["encode", "structure", "latent"]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_the_speed_of_a_call_reaches_both_flows(model: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline: Any = open_model(model if kind == "text" else "nano", runtime=RUNTIME)
    source = "a red mug" if kind == "text" else Image.open(ROOT / "assets" / "example_image" / "mug.png")
    asked: list[tuple[object, str]] = []

    def sample(*arguments: Any, speed: str, **options: object) -> torch.Tensor:
        asked.append((arguments[4], speed))
        return arguments[1]

    pipeline.decode_structure = lambda latent: torch.zeros(1, 4, dtype=torch.int32)
    pipeline.decode = lambda *arguments: None
    with monkeypatch.context() as patched:
        patched.setattr("trellis.model_stages.sample_flow", sample)
        pipeline(source, speed="fastest")
    assert asked == [("structure", "fastest"), ("latent", "fastest")]
    with pytest.raises(InvalidInputError, match="choose one of exact, fast, fastest"):
        pipeline(source, speed="quick")


@pytest.mark.parametrize("prompt", ["", "   ", 3, ["picture.png"]])
def test_what_is_no_text_is_refused(model: Path, prompt: object) -> None:
    with pytest.raises(InvalidInputError, match="takes a text"):
        TextTo3D.from_pretrained(model, runtime=RUNTIME)(prompt)  # type: ignore[arg-type]


def test_the_two_kinds_of_models_are_told_apart(model: Path) -> None:
    assert isinstance(open_model("nano", runtime=RUNTIME), ImageTo3D)
    assert not isinstance(open_model("nano", runtime=RUNTIME), TextTo3D)
    with pytest.raises(CheckpointError, match="takes pictures"):
        TextTo3D.from_pretrained("nano", runtime=RUNTIME)
    with pytest.raises(CheckpointError, match="takes text"):
        ImageTo3D.from_pretrained(model, runtime=RUNTIME)


def test_a_text_edits_and_varies_what_is_there(model: Path) -> None:
    """Random weights make nothing sensible, but outside of the box all stays."""
    pipeline = open_model(model, runtime=RUNTIME)
    assert isinstance(pipeline, TextTo3D)
    coords = make_scene(scale="tiny", device=torch.device("cpu")).voxels[:, 1:]
    latent = torch.randn(len(coords), 8, generator=torch.Generator().manual_seed(0))
    asset = Asset(None, None, None, coords, latent, 64, ())
    box, shown = Box((0.0, -0.5, -0.5), (0.5, 0.5, 0.5)), ("gaussians",)
    made = pipeline.edit(asset, "a mug", region=box, representations=shown)
    before, after = coords[:, 0] < 32, made.coords[:, 0] < 32
    assert torch.equal(made.coords[after], coords[before]) and torch.equal(made.latent[after], latent[before])
    assert not torch.equal(made.coords, coords)
    varied = pipeline.variant(asset, "a mug", strength=0.5, representations=shown)
    assert torch.equal(varied.coords, coords) and not torch.allclose(varied.latent, latent)
