"""DINOv2 features of framed pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.conditioning.dinov2 import CONFIG_FILE, WEIGHTS_FILE, Dinov2, Dinov2Config
from trellis.conditioning.framing import PreparedImage
from trellis.errors import CheckpointError
from trellis.nn.weight_files import check_names, names_in, read_tensors
from trellis.ops.transfers import sent
from trellis.runtime import Runtime

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Parameters of published files that the features below do not pass.
UNUSED = ("backbone.embeddings.mask_token", "backbone.layernorm.weight", "backbone.layernorm.bias")
# Name used in published pipelines -> (repository on the hub, input side in pixels).
PUBLISHED_ENCODERS = {"dinov2_vitl14_reg": ("facebook/dinov2-with-registers-large", 518)}


def encoder_image_size(reference: str | dict[str, Any] | None) -> int:
    """Side in pixels of the pictures that the encoder named by a pipeline takes; raises CheckpointError if unknown."""
    if isinstance(reference, dict):
        return int(reference["image_size"])
    if reference not in PUBLISHED_ENCODERS:
        raise CheckpointError(f"Unknown image encoder {reference!r}; known are {', '.join(PUBLISHED_ENCODERS)}.")
    return PUBLISHED_ENCODERS[reference][1]


class ImageEncoder(nn.Module):
    """A DINOv2-with-registers network and the side of its input in pixels.

    Features are taken before the final norm, all tokens (class, registers, patches), then a LayerNorm without affine
    of eps 1e-5 (source: docs/developer/model-facts.md, section 10).
    """

    def __init__(self, backbone: Dinov2) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = backbone.config.image_size

    @classmethod
    def from_pretrained(cls, reference: str | dict[str, Any], folder: Path, runtime: Runtime) -> "ImageEncoder":
        """Load the encoder that a pipeline names: a published name, or {"path": folder, "image_size": pixels}.

        A path is relative to the pipeline's `folder`. Raises CheckpointError when it is unknown or cannot be loaded.
        """
        image_size = encoder_image_size(reference)
        if isinstance(reference, dict):
            location = folder / reference["path"]
        else:
            location = _published_folder(PUBLISHED_ENCODERS[reference][0], runtime)
        config = Dinov2Config.read(location / CONFIG_FILE)
        if config.image_size != image_size:
            raise CheckpointError(f"{location} is of pictures of {config.image_size} pixels, not of {image_size}.")
        return cls(read_dinov2(location))

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens [B, 1 + registers + patches, C] float32 of pictures [B, 3, S, S] with values 0..1."""
        features = self.backbone(normalized(pictures)).float()
        return F.layer_norm(features, features.shape[-1:], eps=1e-5)


def normalized(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] with values 0..1 as the network takes them."""
    numbers = torch.tensor((IMAGENET_MEAN, IMAGENET_STD), dtype=pictures.dtype)
    mean, std = sent(numbers, pictures.device)[:, None, :, None, None]
    return (pictures - mean) / std


def read_dinov2(folder: Path) -> Dinov2:
    """The network in a folder, in float32 and for evaluation; raises CheckpointError when it is missing or damaged."""
    with torch.device("meta"):
        network = Dinov2(Dinov2Config.read(folder / CONFIG_FILE))
    path, expected = folder / WEIGHTS_FILE, network.state_dict()
    check_names(path, names_in(path), set(expected))
    network.load_state_dict(read_tensors(path, expected, torch.device("cpu")), assign=True)
    return network.eval()


def _published_folder(repository: str, runtime: Runtime) -> Path:
    """Where the files of a repository are: in the folder of models, or where huggingface_hub keeps (or gets) them."""
    if runtime.model_folder is not None and (runtime.model_folder / repository).is_dir():
        return runtime.model_folder / repository
    from huggingface_hub import snapshot_download

    try:
        files = [CONFIG_FILE, WEIGHTS_FILE]
        return Path(snapshot_download(repository, allow_patterns=files, local_files_only=runtime.offline))
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"The image encoder {repository} cannot be loaded: {reason}") from error


def stack_pictures(prepared: list[PreparedImage], device: torch.device) -> Tensor:
    """Framed pictures as one float32 tensor [B, 3, S, S] with values 0..1."""
    pixels = np.stack([image.pixels for image in prepared])
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
