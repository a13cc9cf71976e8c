"""The published class names, and networks made from them."""

from collections.abc import Mapping
from typing import Any

import torch

from trellis.errors import InvalidInputError
from trellis.models.config import ModelConfig
from trellis.models.latent_decoders import GaussianDecoder, LatentDecoderConfig, MeshDecoder, RadianceFieldDecoder
from trellis.models.latent_encoder import LatentEncoder, LatentEncoderConfig
from trellis.models.latent_flow import LatentFlow, LatentFlowConfig
from trellis.models.network import Network
from trellis.models.structure_flow import StructureFlow, StructureFlowConfig
from trellis.models.structure_vae import (
    StructureDecoder,
    StructureDecoderConfig,
    StructureEncoder,
    StructureEncoderConfig,
)

CLASSES: Mapping[str, tuple[type[Network[Any]], type[ModelConfig]]] = {
    "SparseStructureFlowModel": (StructureFlow, StructureFlowConfig),
    "SparseStructureEncoder": (StructureEncoder, StructureEncoderConfig),
    "SparseStructureDecoder": (StructureDecoder, StructureDecoderConfig),
    "SLatFlowModel": (LatentFlow, LatentFlowConfig),
    "SLatEncoder": (LatentEncoder, LatentEncoderConfig),
    "SLatGaussianDecoder": (GaussianDecoder, LatentDecoderConfig),
    "SLatRadianceFieldDecoder": (RadianceFieldDecoder, LatentDecoderConfig),
    "SLatMeshDecoder": (MeshDecoder, LatentDecoderConfig),
}


def create_model(class_name: str, args: Mapping[str, Any]) -> Network[Any]:
    """A network of a published class (prefix `Elastic` allowed) with its published arguments and random weights.

    With `use_fp16` the torso is float16, as in a checkpoint file; call `set_precision` to change that.
    Raises InvalidInputError for an unknown class, argument or value.
    """
    config = parse_config(class_name, args)
    model = CLASSES[_plain(class_name)][0](config)
    if model.config.use_fp16:
        model.set_precision(torch.float16)
    return model


def parse_config(class_name: str, args: Mapping[str, Any]) -> ModelConfig:
    """The checked configuration of a published class; raises InvalidInputError as `create_model` does."""
    if _plain(class_name) not in CLASSES:
        raise InvalidInputError(f"Unknown network class {class_name!r}; choose one of {', '.join(CLASSES)}.")
    return CLASSES[_plain(class_name)][1].from_args(args)


def _plain(class_name: str) -> str:
    return class_name.removeprefix("Elastic")


def class_name_of(model: Network[Any]) -> str:
    """The published name of a network's class; raises InvalidInputError for a module of another kind."""
    for name, (network, _) in CLASSES.items():
        if type(model) is network:
            return name
    raise InvalidInputError(f"{type(model).__name__} is no network of this family.")
