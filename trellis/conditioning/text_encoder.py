"""CLIP features of prompts, through `transformers`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.errors import CheckpointError, InvalidInputError
from trellis.runtime import Runtime


class TextEncoder(nn.Module):
    """A CLIP text network with its tokenizer.

    Every prompt becomes the network's whole length of tokens (77 for the published one), padded or cut; the features
    are the last hidden state (source: docs/developer/model-facts.md, section 10).
    """

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, reference: str, folder: Path, runtime: Runtime) -> "TextEncoder":
        """Load the encoder that a pipeline names: a folder inside the pipeline's `folder`, or a hub repository.

        Raises CheckpointError when it cannot be loaded.
        """
        from transformers import AutoTokenizer, CLIPTextModel

        location = reference
        for place in (folder, runtime.model_folder):
            if place is not None and (place / reference).is_dir():
                location = str(place / reference)
                break
        try:
            with _quiet_loading():
                tokenizer = AutoTokenizer.from_pretrained(location, local_files_only=runtime.offline)
                network = CLIPTextModel.from_pretrained(
                    location, local_files_only=runtime.offline, dtype=torch.float32, use_safetensors=True
                )
        except (OSError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(f"The text encoder {location} cannot be loaded: {reason}") from error
        return cls(network.eval(), tokenizer)

    @property
    def length(self) -> int:
        """Tokens of every prompt."""
        config: Any = self.network.config
        return int(config.max_position_embeddings)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Tokens [B, length, C] float32 of prompts; "" is the null condition. Raises InvalidInputError without any."""
        if not prompts:
            raise InvalidInputError("Give at least one prompt.")
        tokens = self.tokenizer(
            list(prompts), max_length=self.length, padding="max_length", truncation=True, return_tensors="pt"
        )
        device = next(self.network.parameters()).device
        return self.network(input_ids=tokens["input_ids"].to(device)).last_hidden_state.float()


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep the bar that `transformers` draws while it loads weights out of our own output."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()
