"""Networks of a stage: building, compiling, saving and loading with their averages folded in."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder
from trellis.conditioning.image_encoder import IMAGENET_MEAN, IMAGENET_STD
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models import Network, create_model, initialize_for_training, load_model, save_model
from trellis.training.config import ModelConfig, TrainConfig

IMAGE_ENCODER = "image_encoder"

logger = logging.getLogger(__name__)


def build_networks(config: TrainConfig, roles: tuple[str, ...], device: torch.device) -> nn.ModuleDict:
    """The stage's networks with fresh weights that depend on the configuration's seed alone.

    Raises InvalidInputError unless the configuration names exactly `roles`.
    """
    if set(config.models) != set(roles):
        raise InvalidInputError(f"Stage {config.stage} needs the models {sorted(roles)}, not {sorted(config.models)}.")
    networks = nn.ModuleDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for role in roles:
            networks[role] = _build(role, config.models[role])
    return networks.to(device)


def _build(role: str, model: ModelConfig) -> nn.Module:
    if role == IMAGE_ENCODER:
        return build_image_encoder(model.args)
    network = create_model(model.name, dict(model.args))
    initialize_for_training(network)
    return network


def build_image_encoder(args: dict[str, Any]) -> ImageEncoder:
    """An image encoder with fresh weights; `args` are those of transformers' DINOv2-with-registers configuration."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    backbone = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**args))
    # Never reached by features taken before it, or used in masked pre-training alone.
    for name, parameter in backbone.named_parameters():
        if name.startswith("layernorm.") or name.endswith("mask_token"):
            parameter.requires_grad_(False)
    return ImageEncoder(backbone, int(args["image_size"]))


def compiled(network: nn.Module, *, wanted: bool) -> Callable[..., Any]:
    """The network for training steps of one fixed shape, compiled if `wanted`; metrics call the network itself."""
    return torch.compile(network) if wanted else network


def image_tokens(encoder: ImageEncoder, pictures: Tensor) -> Tensor:
    """What `encoder(pictures)` returns, layer by layer: without the hooks that a compiler cannot follow."""
    mean, std = (pictures.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    backbone: Any = encoder.backbone
    hidden = backbone.embeddings((pictures - mean) / std)
    for layer in backbone.encoder.layer:
        hidden = layer(hidden)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    hidden = hidden.float()
    return F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5)


def compiled_image_encoder(encoder: ImageEncoder, *, wanted: bool) -> Callable[[Tensor], Tensor]:
    """The encoder for training steps; compiled if `wanted` and if the layers of this transformers version fit."""
    if not wanted:
        return encoder
    device = next(encoder.parameters()).device
    probe = torch.rand(1, 3, encoder.image_size, encoder.image_size, device=device)
    try:
        with torch.no_grad():
            same = torch.allclose(image_tokens(encoder, probe), encoder(probe), atol=1e-2, rtol=1e-2)
    except (AttributeError, TypeError) as error:
        logger.warning("the image encoder runs uncompiled: %s", error)
        return encoder
    if not same:
        logger.warning("the image encoder runs uncompiled: its layers give other features")
        return encoder
    run = torch.compile(image_tokens)
    return lambda pictures: run(encoder, pictures)


def detached_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU whose weights may be changed."""
    return copy.deepcopy(network).cpu().eval()


@torch.no_grad()
def scale_rows(weight: Tensor, bias: Tensor, rows: slice, factor: Tensor | float) -> None:
    """Multiply output channels of a layer, in place; `factor` is one number or one per row."""
    factor = torch.as_tensor(factor, dtype=weight.dtype, device=weight.device)
    weight[rows] *= factor.reshape(-1, *[1] * (weight.ndim - 1)) if factor.ndim else factor
    bias[rows] *= factor


def save_network(network: nn.Module, folder: Path, role: str) -> None:
    """Write `folder/role.json` and `.safetensors` (an image encoder: a folder in transformers' own format)."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network, ImageEncoder):
        cast(Any, network.backbone).half().save_pretrained(folder / role)
    else:
        save_model(cast(Network[Any], network), folder / role)


def load_network(folder: Path, role: str, device: torch.device) -> nn.Module:
    """A finished network of an earlier stage, frozen. Raises CheckpointError when that stage has not run."""
    if not (folder / f"{role}.json").is_file():
        raise CheckpointError(f"{folder / role} is missing: train that stage first.")
    network = cast(nn.Module, load_model(folder / role))
    return network.to(device).eval().requires_grad_(False)
