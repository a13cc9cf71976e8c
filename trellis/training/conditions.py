"""What a flow is trained under: pictures or captions of an object, and the encoder that reads them."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder, TextEncoder
from trellis.runtime import Runtime
from trellis.training.folder_data import TrainingObject, read_picture, read_pictures
from trellis.training.released_config import PictureArgs

_KEPT_BYTES = 2**31  # of framed pictures, which are small beside the files that they are read from


class PictureCondition:
    """Random pictures of an object: the tokens of all of them, one after the other; none is zeros.

    encoder: the network, frozen unless somebody changes that; encode: what is called in its place (itself at first).
    """

    encode: nn.Module

    def __init__(
        self, args: PictureArgs, reference: str | dict[str, Any], runtime: Runtime, device: torch.device
    ) -> None:
        """reference: see `ImageEncoder.from_pretrained`; a path is an absolute one."""
        self._args, self._device = args, device
        kept = _KEPT_BYTES // (3 * args.image_size**2)
        self._read = lru_cache(kept)(partial(read_picture, size=args.image_size))
        self.encoder = ImageEncoder.from_pretrained(reference, Path(), runtime).to(device).requires_grad_(False)
        self.encode = self.encoder

    def read(self, source: TrainingObject, draws: torch.Generator) -> Tensor:
        """uint8 [views, 3, S, S]."""
        return read_pictures(source, views=self._args.condition_views, draws=draws, read=self._read)

    def tokens(self, conditions: Sequence[Tensor], dropped: Sequence[bool]) -> Tensor:
        pictures = torch.cat(list(conditions)).to(self._device).float() / 255
        tokens = self.encode(pictures).unflatten(0, (len(conditions), -1)).flatten(1, 2)
        return tokens * (~torch.tensor(dropped, device=self._device))[:, None, None]


class TextCondition:
    """A random caption of an object; none is the empty text."""

    def __init__(self, reference: str, runtime: Runtime, device: torch.device) -> None:
        self._encoder = TextEncoder.from_pretrained(reference, Path(), runtime).to(device).requires_grad_(False)

    def read(self, source: TrainingObject, draws: torch.Generator) -> str:
        return source.captions[int(torch.randint(len(source.captions), (), generator=draws))]

    @torch.no_grad()
    def tokens(self, conditions: Sequence[str], dropped: Sequence[bool]) -> Tensor:
        return self._encoder(["" if none else text for text, none in zip(conditions, dropped)])


# The condition of an object as it is read (`read`), and tokens [B, L, C] of several (`tokens`).
TrainingCondition = PictureCondition | TextCondition
