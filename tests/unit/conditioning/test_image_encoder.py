"""DINOv2 features: which tokens, from which place in the network, and clear errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from trellis.conditioning import ImageEncoder, PreparedImage, encoder_image_size, stack_pictures
from trellis.errors import CheckpointError
from trellis.runtime import Runtime

OFFLINE = Runtime(offline=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14, num_register_tokens=4
    )
    network = Dinov2WithRegistersModel(config)
    torch.nn.init.normal_(network.layernorm.weight)  # a final norm that would show if it were applied
    network.save_pretrained(path / "image_encoder")
    return path


def encoder(folder: Path) -> ImageEncoder:
    return ImageEncoder.from_pretrained({"path": "image_encoder", "image_size": 28}, folder, OFFLINE)


def test_all_tokens_before_the_final_norm_are_normalised_without_affine(folder: Path) -> None:
    network = encoder(folder)
    pictures = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        tokens = network(pictures)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        plain = network.backbone((pictures - mean[:, None, None]) / std[:, None, None], output_hidden_states=True)
        normed = network.backbone.layernorm(plain.hidden_states[-1])
    assert tokens.shape == (2, 1 + 4 + 4, 32)
    torch.testing.assert_close(plain.last_hidden_state, normed)  # hidden_states[-1] is before the final norm
    torch.testing.assert_close(tokens, F.layer_norm(plain.hidden_states[-1], (32,), eps=1e-5))
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3


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
