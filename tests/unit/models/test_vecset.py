"""The shape model's networks: sizes of the published ones, precision, and files that are read key by key."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.tiny_shape_model import (
    DECODER_PARAMS,
    DINO,
    FLOW_PARAMS,
    TURBO_PARAMS,
    ball_decoder,
    description,
    networks,
    sizes_of,
    write_model,
)
from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import EncoderSizes
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models.vecset_decoder import VecsetDecoder
from trellis.models.vecset_files import DECODER, ENCODER, FLOW, check_sections, read_section, weights_file
from trellis.models.vecset_flow import VecsetFlow
from trellis.models.vecset_sizes import WEIGHTS_FILE, DecoderSizes, FlowSizes


def half_bytes(make: Callable[[], nn.Module]) -> int:
    """Bytes of the weights of a network in float16."""
    with torch.device("meta"):
        return sum(2 * parameter.numel() for parameter in make().parameters())


def published_flow(*, mini: bool) -> VecsetFlow:
    blocks = (8, 16) if mini else (16, 32)
    return VecsetFlow(FlowSizes(64, 1536, 1024, 16, *blocks, guidance_embed=True))


def test_published_sizes() -> None:
    decoder = half_bytes(lambda: VecsetDecoder(DecoderSizes(3072, 64, 1024, 16, 16, 1.0)))
    assert decoder == 428_425_730
    encoder = half_bytes(lambda: ShapeEncoder(EncoderSizes()))
    flow, mini = (half_bytes(lambda mini=mini: published_flow(mini=mini)) for mini in (False, True))  # type: ignore[misc]
    assert [round(size / 2e9, 2) for size in (encoder, flow, mini)] == [1.14, 1.11, 0.56]
    # Of a whole file; the part of the decoder that made latents of meshes is in it too and not read.
    assert [round(size / 1e9, 1) for size in (encoder + flow + decoder, encoder + mini + decoder)] == [4.9, 3.8]


def test_turbo_decoders_are_narrower_in_the_block_of_points_alone() -> None:
    plain, turbo = (ball_decoder(DECODER_PARAMS | more) for more in ({}, TURBO_PARAMS))
    assert plain.transformer.state_dict().keys() == turbo.transformer.state_dict().keys()
    assert turbo.geo_decoder.output_proj.in_features * 2 == plain.geo_decoder.output_proj.in_features
    assert not [key for key in turbo.geo_decoder.state_dict() if "norm" in key or "ln_post" in key]
    assert turbo.point_bytes < plain.point_bytes


def test_what_is_half_and_what_stays_exact() -> None:
    flow, decoder = VecsetFlow(sizes_of(FlowSizes, FLOW_PARAMS)), ball_decoder(DECODER_PARAMS | TURBO_PARAMS)
    exact = {"latent_in", "time_in", "guidance_in", "final_layer", "post_kl", "geo_decoder.query_proj"}
    exact |= {"geo_decoder.output_proj"}
    for model in (flow, decoder):
        model.set_precision(torch.float16)
        assert model.torso_dtype == torch.float16
        for name, weight in model.named_parameters():
            gain = "norm" in name or ".ln_" in name
            stays = gain or name.startswith(tuple(exact))
            assert weight.dtype == (torch.float32 if stays else torch.float16), name
        model.set_precision(torch.float32)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@torch.inference_mode()
def test_half_precision_gives_nearly_the_same() -> None:
    made = networks(description())
    flow, decoder = made[FLOW], made[DECODER]
    assert isinstance(flow, VecsetFlow) and isinstance(decoder, VecsetDecoder)
    x, tokens, points = torch.randn(1, 24, 8), torch.randn(1, 10, 48), torch.rand(50, 3)

    def both() -> tuple[Tensor, Tensor]:
        context = decoder.prepare(decoder.decode(x[0]))
        return flow(x, 0.3, tokens, guidance=5.0), decoder.logits(points, context)

    exact = both()
    for model in (flow, decoder):
        model.set_precision(torch.float16)
    for expected, got in zip(exact, both()):
        assert got.dtype == torch.float32
        assert 0 < float((got - expected).abs().max() / expected.abs().max()) < 2e-2


@torch.inference_mode()
def test_samples_of_a_batch_do_not_mix() -> None:
    flow = networks(description(kind="plain"))[FLOW]
    x, tokens = torch.randn(2, 24, 8), torch.randn(2, 10, 48)
    together = flow(x, 0.3, tokens)
    alone = torch.cat([flow(x[i : i + 1], 0.3, tokens[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    with pytest.raises(InvalidInputError, match="guidance"):
        flow(x, 0.3, tokens, guidance=5.0)


def test_names_of_the_encoder_are_the_published_ones() -> None:
    weights = ShapeEncoder(sizes_of(EncoderSizes, DINO)).backbone.state_dict()
    assert "encoder.layer.0.attention.attention.query.weight" in weights
    assert weights["encoder.layer.0.mlp.weights_in.weight"].shape == (256, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = description()
    return write_model(tmp_path_factory.mktemp("shape") / "model", content, networks(content))


def test_a_folder_is_read_back_as_it_was_written(folder: Path) -> None:
    path = weights_file(folder)
    check_sections(path)
    for prefix, model in networks(description()).items():
        weights = model.backbone.state_dict() if prefix == ENCODER else model.state_dict()  # type: ignore[arg-type,union-attr]
        found = read_section(path, weights, prefix=prefix)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], weights[key].half().float()) for key in weights)


def changed(folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, tmp_path / WEIGHTS_FILE)
    return tmp_path / WEIGHTS_FILE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("model.latent_in.bias"), r"1 missing \(model\.latent_in\.bias\)"),
        (lambda t: t.update({"model.img_in.bias": torch.zeros(1)}), r"1 unexpected \(model\.img_in\.bias\)"),
        (lambda t: t.update({"model.latent_in.bias": torch.zeros(3)}), r"latent_in\.bias has shape \[3\]"),
    ],
)
def test_wrong_keys_and_shapes_are_named(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], words: str
) -> None:
    path = changed(folder, tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        read_section(path, VecsetFlow(sizes_of(FlowSizes, FLOW_PARAMS)).state_dict(), prefix=FLOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({"texture.bias": torch.zeros(1)}), r"1 unexpected \(texture\.bias\)"),
        (lambda t: [t.pop(key) for key in list(t) if key.startswith(DECODER)], "no weight of vae"),
    ],
)
def test_a_file_holds_three_networks_and_nothing_else(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        check_sections(changed(folder, tmp_path, change))


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        weights_file(tmp_path)
    (tmp_path / "model.fp16.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="can run programs and are not read"):
        weights_file(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        check_sections(weights_file(tmp_path))
