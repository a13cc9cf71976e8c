"""DINOv2 features of framed pictures, through `transformers`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.conditioning.framing import PreparedImage
from trellis.errors import CheckpointError
from trellis.runtime import Runtime

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
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

    def __init__(self, backbone: nn.Module, image_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = image_size

    @classmethod
    def from_pretrained(cls, reference: str | dict[str, Any], folder: Path, runtime: Runtime) -> "ImageEncoder":
        """Load the encoder that a pipeline names: a published name, or {"path": folder, "image_size": pixels}.

        A path is relative to the pipeline's `folder`. Raises CheckpointError when it is unknown or cannot be loaded.
        """
        from transformers import Dinov2WithRegistersModel

        image_size = encoder_image_size(reference)
        if isinstance(reference, dict):
            location = str(folder / reference["path"])
        else:
            location = PUBLISHED_ENCODERS[reference][0]
            if runtime.model_folder is not None and (runtime.model_folder / location).is_dir():
                location = str(runtime.model_folder / location)
        try:
            with quiet_loading():
                backbone = Dinov2WithRegistersModel.from_pretrained(
                    location, local_files_only=runtime.offline, dtype=torch.float32, use_safetensors=True
                )
        except (OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(f"The image encoder {location} cannot be loaded: {reason}") from error
        return cls(backbone.eval(), image_size)

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens [B, 1 + registers + patches, C] float32 of pictures [B, 3, S, S] with values 0..1."""
        mean = pictures.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        std = pictures.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
        output = self.backbone((pictures - mean) / std, output_hidden_states=True)
        features = output.hidden_states[-1].float()
        return F.layer_norm(features, features.shape[-1:], eps=1e-5)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep the bar that `transformers` draws while it loads weights out of our own output."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def stack_pictures(prepared: list[PreparedImage], device: torch.device) -> Tensor:
    """Framed pictures as one float32 tensor [B, 3, S, S] with values 0..1."""
    pixels = np.stack([image.pixels for image in prepared])
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
