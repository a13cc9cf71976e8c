"""Networks of a stage: building, compiling, saving and loading with their averages folded in."""

import copy
import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models import create_model, initialize_for_training, load_model, save_model
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


def compile_blocks(network: nn.Module) -> None:
    """Compile every block of a transformer with fixed shapes, in place; parameter names stay."""
    blocks = next((m for n, m in network.named_modules() if n.split(".")[-1] in ("blocks", "layer", "layers")), None)
    if not isinstance(blocks, nn.ModuleList):
        logger.warning("nothing to compile in %s", type(network).__name__)
        return
    for block in blocks:
        block.compile()


def detached_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU in float32 whose weights may be changed."""
    forwards = [(m, m.__dict__.pop("_compiled_call_impl")) for m in network.modules() if "_compiled_call_impl" in m.__dict__]
    try:
        twin = copy.deepcopy(network)
    finally:
        for module, compiled in forwards:
            module.__dict__["_compiled_call_impl"] = compiled
    return twin.cpu().eval()


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
        network.backbone.half().save_pretrained(folder / role)
    else:
        save_model(network, folder / role)


def load_network(folder: Path, role: str, device: torch.device) -> nn.Module:
    """A finished network of an earlier stage, frozen. Raises CheckpointError when that stage has not run."""
    if not (folder / f"{role}.json").is_file():
        raise CheckpointError(f"{folder / role} is missing: train that stage first.")
    network = cast(nn.Module, load_model(folder / role))
    return network.to(device).eval().requires_grad_(False)
