"""Networks of a stage: building, compiling, saving and loading with their averages folded in."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder
from trellis.conditioning.dinov2 import Dinov2, Dinov2Config
from trellis.conditioning.image_encoder import IMAGENET_MEAN, IMAGENET_STD, read_dinov2
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models import Network, create_model, initialize_for_training, load_model, save_model
from trellis.ops.eager import compile_rest
from trellis.training.config import ModelConfig, TrainConfig

IMAGE_ENCODER = "image_encoder"


def build_networks(config: TrainConfig, roles: tuple[str, ...], device: torch.device, *, runs: Path) -> nn.ModuleDict:
    """The stage's networks: those in `config.init` from their files below `runs`, else as the seed alone says.

    Those in `config.frozen` are not trained. Raises InvalidInputError unless the configuration names exactly `roles`,
    CheckpointError for weights that do not fit.
    """
    strange = sorted(set(config.init) - set(roles))
    if strange:
        raise InvalidInputError(f"init names {strange}, but stage {config.stage} has the models {sorted(roles)}.")
    if set(config.models) != set(roles):
        raise InvalidInputError(f"Stage {config.stage} needs the models {sorted(roles)}, not {sorted(config.models)}.")
    if fresh := sorted(set(config.frozen) - set(config.init)):
        raise InvalidInputError(f"frozen names {fresh}, which would stay untrained: init has to say their weights.")
    networks = nn.ModuleDict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for role in roles:
            networks[role] = _build(role, config.models[role])
    for role, source in config.init.items():
        _load_weights(networks[role], runs / source, role)
    for role in config.frozen:
        networks[role].requires_grad_(False)
    return networks.to(device)


def _build(role: str, model: ModelConfig) -> nn.Module:
    if role == IMAGE_ENCODER:
        return build_image_encoder(model.args)
    network = create_model(model.name, dict(model.args))
    initialize_for_training(network)
    return network


def _load_weights(network: nn.Module, source: Path, role: str) -> None:
    """Fill `network` from `source`, a path stem or the folder that holds `role`; every key and shape must fit."""
    inside = source / role
    stem = inside if inside.is_dir() or inside.with_name(f"{role}.json").is_file() else source
    if isinstance(network, ImageEncoder):
        found = read_dinov2(stem).state_dict()
        target: nn.Module = network.backbone
    elif stem.with_name(stem.name + ".json").is_file():
        stored, target = cast(nn.Module, load_model(stem)), network
        _check_meaning(stored, network, f"{stem} does not fit {role}")
        found = stored.state_dict()
    else:
        raise CheckpointError(f"{stem} is missing: it is what {role} shall start from.")
    try:
        target.load_state_dict(found)
    except RuntimeError as error:
        raise CheckpointError(f"{stem} does not fit {role}: {error}") from error


def _check_meaning(stored: nn.Module, network: nn.Module, message: str) -> None:
    """Raise CheckpointError unless both networks' outputs are read alike."""
    theirs, ours = (getattr(net.config, "representation_config", None) for net in (stored, network))
    if theirs != ours:
        raise CheckpointError(f"{message}: its representation_config is {theirs}, not {ours}.")


def build_image_encoder(args: dict[str, Any]) -> ImageEncoder:
    """An image encoder with fresh weights; `args` are those of its config.json. Raises InvalidInputError for others."""
    try:
        backbone = Dinov2(Dinov2Config(**args))
    except TypeError as error:
        raise InvalidInputError(f"{IMAGE_ENCODER}: {error}") from error
    # Never reached by features taken before it, or used in masked pre-training alone.
    for name, parameter in backbone.named_parameters():
        if name.startswith("layernorm.") or name.endswith("mask_token"):
            parameter.requires_grad_(False)
    _initialize_image_encoder(backbone)
    return ImageEncoder(backbone)


@torch.no_grad()
def _initialize_image_encoder(backbone: Dinov2) -> None:
    """Start weights of a small encoder that learns from scratch, in place.

    The usual ones (normal 0.02) leave 192 channels nearly at zero: a token then says little about its content and
    next to nothing about its place. Linears Xavier uniform, places and special tokens normal 0.5, and black (the
    background) gives a patch of zero.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    embeddings = backbone.embeddings
    for tokens in (embeddings.position_embeddings, embeddings.cls_token, embeddings.register_tokens):
        nn.init.normal_(tokens, std=0.5)
    patch = cast(nn.Conv2d, embeddings.patch_embeddings["projection"])
    nn.init.xavier_uniform_(patch.weight.flatten(1))
    black = -torch.tensor(IMAGENET_MEAN) / torch.tensor(IMAGENET_STD)
    patch.bias = nn.Parameter(-(patch.weight.sum((2, 3)) @ black))


def compiled(network: nn.Module, *, wanted: bool) -> Callable[..., Any]:
    """The network for training steps of one fixed shape, compiled if `wanted`; metrics call the network itself."""
    return compile_rest(network) if wanted else network


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
        aside, target = folder / f"{role}.part", folder / role
        shutil.rmtree(aside, ignore_errors=True)
        network.backbone.save(aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.replace(target)
    else:
        save_model(cast(Network[Any], network), folder / role)


def load_network(folder: Path, role: str, device: torch.device) -> nn.Module:
    """A finished network of an earlier stage, frozen. Raises CheckpointError when that stage has not run."""
    if not (folder / f"{role}.json").is_file():
        raise CheckpointError(f"{folder / role} is missing: train that stage first.")
    network = cast(nn.Module, load_model(folder / role))
    return network.to(device).eval().requires_grad_(False)
