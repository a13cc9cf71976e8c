"""DINOv2 features: which tokens, from which place in the network, and clear errors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Dinov2Config as LibraryConfig
from transformers import Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from trellis.conditioning import ImageEncoder, PreparedImage, encoder_image_size, stack_pictures
from trellis.conditioning.image_encoder import read_dinov2
from trellis.errors import CheckpointError
from trellis.runtime import Runtime

OFFLINE = Runtime(offline=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dinov2WithRegistersModel]:
    """A folder with an encoder that transformers wrote, and that network."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14, num_register_tokens=4
    )
    network = Dinov2WithRegistersModel(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # a final norm, too, that would show if it were applied
    network.save_pretrained(path / "image_encoder")
    return path, network


def encoder(folder: Path) -> ImageEncoder:
    return ImageEncoder.from_pretrained({"path": "image_encoder", "image_size": 28}, folder, OFFLINE)


@torch.no_grad()
def test_all_tokens_before_the_final_norm_are_normalised_without_affine(
    library: tuple[Path, Dinov2WithRegistersModel],
) -> None:
    folder, network = library
    pictures = torch.rand(2, 3, 28, 28)
    tokens = encoder(folder)(pictures)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    plain = network((pictures - mean[:, None, None]) / std[:, None, None], output_hidden_states=True)
    assert tokens.shape == (2, 1 + 4 + 4, 32)
    torch.testing.assert_close(tokens, F.layer_norm(plain.hidden_states[-1], (32,), eps=1e-5))
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3


@torch.no_grad()
def test_a_gated_network_without_registers_is_that_of_the_library_both_ways(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    network = Dinov2Model(LibraryConfig(**sizes, use_swiglu_ffn=True)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(tmp_path / "theirs")
    mine, pictures = read_dinov2(tmp_path / "theirs"), torch.rand(2, 3, 28, 28)
    found = mine.layernorm(mine(pictures))
    torch.testing.assert_close(found, network(pictures).last_hidden_state)
    (tmp_path / "mine").mkdir()
    mine.save(tmp_path / "mine")  # in float16
    back = Dinov2Model.from_pretrained(tmp_path / "mine", dtype=torch.float32).eval()
    torch.testing.assert_close(back(pictures).last_hidden_state, found, rtol=0.01, atol=0.01)


def test_an_encoder_of_other_sizes_is_refused(library: tuple[Path, Dinov2WithRegistersModel], tmp_path: Path) -> None:
    folder, _ = library
    with pytest.raises(CheckpointError, match="of pictures of 28 pixels, not of 42"):
        ImageEncoder.from_pretrained({"path": "image_encoder", "image_size": 42}, folder, OFFLINE)
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / "image_encoder" / "config.json"
    path.write_text(path.read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(CheckpointError, match=r"missing .*encoder\.layer\.3"):
        encoder(tmp_path / "model")
    path.write_text(path.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    with pytest.raises(CheckpointError, match="does not describe a DINOv2"):
        encoder(tmp_path / "model")


def test_prepared_pictures_become_one_tensor() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 2] = (255, 51, 0)
    batch = stack_pictures([PreparedImage(None, pixels, (0, 0, 4, 4), "alpha")] * 2, torch.device("cpu"))  # type: ignore[arg-type]
    assert batch.shape == (2, 3, 4, 4)
    torch.testing.assert_close(batch[1, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))


def test_the_published_name_means_518_pixels_and_others_are_refused() -> None:
    assert encoder_image_size("dinov2_vitl14_reg") == 518
    with pytest.raises(CheckpointError, match="dinov2_vitl14_reg"):
        encoder_image_size("resnet50")


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="image_encoder"):
        encoder(tmp_path)
